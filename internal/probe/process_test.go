package probe_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/probe"
)

func TestAProcessIsNamedByItsFirstWord(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	cmd.Args[0] = "tra\x1b[31min\n" + strings.Repeat("é", 70)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	uid, command, ok := probe.Process(cmd.Process.Pid)
	if !ok || uid != os.Getuid() || command != "tra[31min"+strings.Repeat("é", 51)+"…" {
		t.Errorf("got %d, %q, %v", uid, command, ok)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if !probe.Runs(cmd.Process.Pid, []string{"/nonexistent", sleep}) || probe.Runs(cmd.Process.Pid, []string{"/bin/sh", cmd.Args[0]}) {
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
