package probe_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/probe"
)

func TestAProcessIsNamedByItsFirstWord(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "cat")
	cmd.Args[0] = "tra\x1b[31min\n" + strings.Repeat("é", 70)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs: exec has laid its words out
		t.Fatal(err)
	}
	uid, command, ok := probe.Process(cmd.Process.Pid)
	if !ok || uid != os.Getuid() || command != "tra[31min"+strings.Repeat("é", 51)+"…" {
		t.Errorf("got %d, %q, %v", uid, command, ok)
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	if !probe.Runs(cmd.Process.Pid, []string{"/nonexistent", cat}) || probe.Runs(cmd.Process.Pid, []string{"/bin/sh", cmd.Args[0]}) {
		t.Error("it is known by its name, not by what it runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, _, ok := probe.Process(cmd.Process.Pid); ok {
		t.Error("it is gone")
	}
}
