package cgroup_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/cgroup"
)

func TestEveryProcessOfAGroupIsEndedAndNoOther(t *testing.T) {
	tree, parent := host(t)
	person := filepath.Join(parent, "u1001")
	for _, name := range []string{"lost", "other"} {
		if err := tree.Ensure(person, name, bounds(-1, -1, -1)); err != nil {
			t.Fatal(err)
		}
	}
	lost, other := procs(tree, filepath.Join(person, "lost")), procs(tree, filepath.Join(person, "other"))
	for range 3 {
		sleeper(t, lost)
	}
	sleeper(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if n, err := tree.End(ctx, filepath.Join(person, "lost")); err != nil || n != 3 {
		t.Errorf("ended %d processes: %v", n, err)
	}
	if exists(lost) {
		t.Error("the group is left")
	}
	if n, err := tree.End(ctx, filepath.Join(person, "lost")); err != nil || n != 0 {
		t.Errorf("a group that isn't there: %d, %v", n, err)
	}
	if len(strings.Fields(read(t, other))) != 1 {
		t.Error("somebody else's process was ended")
	}
}

func TestWhoHasADeviceOpen(t *testing.T) {
	tree, parent := host(t)
	for _, name := range []string{"box", "other"} {
		if err := tree.Ensure(parent, name, bounds(-1, -1, -1)); err != nil {
			t.Fatal(err)
		}
	}
	hold := func(group, device string) int {
		cmd := exec.Command("sh", "-c", "echo $$ > "+procs(tree, filepath.Join(parent, group))+" && exec 3<"+device+" && echo in && read end")
		_, err := cmd.StdinPipe() // never closed
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		out.Read(make([]byte, 3))
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd.Process.Pid
	}
	zero := unix.Mkdev(1, 5)
	pid := hold("box", "/dev/zero")
	hold("box", "/dev/full")
	hold("other", "/dev/zero")
	got, err := tree.Openers(filepath.Join(parent, "box"), []uint64{zero})
	if err != nil || len(got) != 1 || got[0].PID != pid || got[0].Name != "sh" {
		t.Errorf("open: %v, %v", got, err)
	}
	if got, err := tree.Openers(parent, []uint64{zero, unix.Mkdev(1, 7)}); err != nil || len(got) != 3 {
		t.Errorf("in both groups: %v, %v", got, err)
	}
	if got, err := tree.Openers(filepath.Join(parent, "gone"), []uint64{zero}); err != nil || len(got) > 0 {
		t.Errorf("in no group: %v, %v", got, err)
	}
}

func TestWhoIsInAGroup(t *testing.T) {
	tree, parent := host(t)
	for _, name := range []string{"box", "other"} {
		if err := tree.Ensure(parent, name, bounds(-1, -1, -1)); err != nil {
			t.Fatal(err)
		}
		sleeper(t, procs(tree, filepath.Join(parent, name)))
	}
	in := func(name string) int {
		pid, err := strconv.Atoi(strings.TrimSpace(read(t, procs(tree, filepath.Join(parent, name)))))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	box, other := filepath.Join(parent, "box"), filepath.Join(parent, "other")
	for _, c := range []struct {
		group string
		pid   int
		want  bool
	}{{box, in("box"), true}, {other, in("other"), true}, {box, in("other"), false}, {box, os.Getpid(), false}, {box, 0, false}, {filepath.Join(parent, "none"), in("box"), false}} {
		if got := tree.Holds(c.group, c.pid); got != c.want {
			t.Errorf("%s holds %d: %t", c.group, c.pid, got)
		}
	}
}

// procs is the file that holds who is in a group.
func procs(tree *cgroup.Tree, group string) string {
	if tree.Version() == 2 {
		return filepath.Join(root, group, "cgroup.procs")
	}
	return filepath.Join(root, "pids", group, "cgroup.procs")
}

// sleeper starts a process in a group and reaps it.
func sleeper(t *testing.T, procs string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "echo $$ > "+procs+" && echo in && exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 3))
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
}
