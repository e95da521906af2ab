package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/cgroup"
)

func TestProcessorTimeIsThatOfAllBelow(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := below(t, tree, parent, "c")
	worked := func() time.Duration {
		t.Helper()
		n, err := tree.Worked(parent)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := worked()
	running(t, tree, group, "echo ready; while :; do :; done")
	eventually(t, "processor time is counted", func() bool { return worked()-before > 200*time.Millisecond })
	if _, err := tree.Worked(group + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent group: %v, want ErrNotExist", err)
	}
}

func TestProcessorsAreTheLeastThatAnyLevelLeaves(t *testing.T) {
	tree, parent := host(t)
	all := float64(runtime.NumCPU())
	for name, c := range map[string]struct{ person, container, want float64 }{
		"no limit":               {-1, -1, all},
		"the container's":        {-1, 0.5, 0.5},
		"the person's":           {0.25, -1, 0.25},
		"both the same":          {0.25, 0.25, 0.25},
		"the container's less":   {1, 0.5, 0.5},
		"more than the host has": {1000, 1000, all},
	} {
		t.Run(name, func(t *testing.T) {
			ensure(t, tree, parent, bounds(c.person, -1, -1))
			below(t, tree, filepath.Join(parent, "u1001"), "c")
			if err := tree.Ensure(filepath.Join(parent, "u1001"), "c", bounds(c.container, -1, -1)); err != nil {
				t.Fatal(err)
			}
			seen := map[string]float64{}
			for _, of := range []map[string]float64{nil, seen, seen} {
				if got, err := tree.Processors(filepath.Join(parent, "u1001/c"), of); err != nil || got != c.want {
					t.Errorf("%v, %v; want %v", got, err, c.want)
				}
			}
			if err := tree.Remove(filepath.Join(parent, "u1001"), "c"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestASetOfProcessorsIsAllThatMayBeUsed(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("one processor can't be split")
	}
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := filepath.Join(parent, "u1001")
	if tree.Version() == 2 && !exists(file(tree, group, "", "cpuset.cpus")) {
		t.Skip("this host keeps no sets")
	}
	write(t, file(tree, group, "cpuset.cpus", "cpuset.cpus"), "0")
	if got, err := tree.Processors(group, nil); err != nil || got != 1 {
		t.Errorf("%v, %v; want 1", got, err)
	}
}

// Bytes count that went to a disk or came from it, also through the page cache, also
// of processes that have ended; none that stayed in memory.
func TestDiskIsWhatWasReadAndWritten(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := filepath.Join(parent, "u1001")
	dir, err := os.MkdirTemp(".", "_disk") //nolint:usetesting // that may lie in memory, which is no disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The shell itself must do nothing, or it counts for what it has waited for.
	write(t, filepath.Join(dir, "do"), `cd "$1"
while :; do
	if rm go 2>/dev/null; then sh -c "$(cat task)"; echo >done; fi
	sleep 0.02
done`)
	running(t, tree, group, "echo ready; exec sh "+filepath.Join(dir, "do")+" "+dir)
	total := func() (n int64) {
		t.Helper()
		bytes, err := tree.Transferred(group)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bytes {
			n += b
		}
		return n
	}
	const size = 8 << 20
	for _, c := range []struct {
		name, task string
		least      int64
	}{
		{"memory", "dd if=/dev/zero of=/dev/null bs=1M count=16 status=none", 0},
		{"written through the page cache", "dd if=/dev/zero of=a bs=1M count=8 status=none conv=fsync", size},
		{"read past the page cache", "dd if=a of=/dev/null bs=1M iflag=direct status=none", size},
	} {
		before := total()
		write(t, filepath.Join(dir, "task"), c.task)
		write(t, filepath.Join(dir, "go"), "")
		eventually(t, c.name, func() bool { return os.Remove(filepath.Join(dir, "done")) == nil })
		if c.least > 0 {
			eventually(t, c.name+" is counted", func() bool { return total()-before >= c.least })
		}
		if grown := total() - before; grown > c.least+4<<20 {
			t.Errorf("%s: %d bytes, want about %d", c.name, grown, c.least)
		}
	}
	if _, err := tree.Transferred(group + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent group: %v, want ErrNotExist", err)
	}
}

// What a v2 kernel writes, for hosts with v1.
func TestActivityOnVersion2(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/u1001/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"cgroup.controllers":               "cpuset cpu io memory pids",
		"a/u1001/c/cpu.stat":               "usage_usec 120000000\nuser_usec 100\nsystem_usec 7\ncore_sched.force_idle_usec 0\nnr_periods 0\n",
		"a/u1001/c/cpuset.cpus.effective":  "0-3,8,10-11\n",
		"a/u1001/c/cpu.max":                "max 100000\n",
		"a/u1001/cpu.max":                  "250000 100000\n",
		"a/u1001/c/io.stat":                "8:0 rbytes=4096 wbytes=1024 rios=1 wios=1 dbytes=99 dios=0\n253:1 rbytes=0 wbytes=10 rios=0 wios=1 dbytes=0 dios=0\n7:0 \n",
		"a/u1001/cpuset.cpus.effective":    "0\n",
		"a/cpu.max":                        "max 100000\n",
		"a/u1001/c/cgroup.procs":           "",
		"a/u1001/c/cgroup.subtree_control": "",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	tree, err := cgroup.Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tree.Worked("/a/u1001/c"); err != nil || n != 2*time.Minute {
		t.Errorf("processor time %v, %v", n, err)
	}
	if n, err := tree.Processors("/a/u1001/c", nil); err != nil || n != 2.5 {
		t.Errorf("processors %v, %v", n, err)
	}
	write(t, filepath.Join(dir, "a/u1001/cpu.max"), "max 100000\n")
	if n, err := tree.Processors("/a/u1001/c", nil); err != nil || n != 7 {
		t.Errorf("processors of the set %v, %v", n, err)
	}
	bytes, err := tree.Transferred("/a/u1001/c")
	if err != nil || len(bytes) != 2 {
		t.Fatalf("disk %v, %v", bytes, err)
	}
	total := int64(0)
	for _, n := range bytes {
		total += n
	}
	if total != 5130 {
		t.Errorf("%d bytes", total)
	}
	// Without the controller it is what the group's processes did: it has none.
	if err := os.Remove(filepath.Join(dir, "a/u1001/c/io.stat")); err != nil {
		t.Fatal(err)
	}
	if bytes, err := tree.Transferred("/a/u1001/c"); err != nil || len(bytes) != 0 {
		t.Errorf("without io.stat: %v, %v", bytes, err)
	}
	for file, do := range map[string]func() error{
		"cpu.stat":              func() error { _, err := tree.Worked("/a/u1001/c"); return err },
		"cpuset.cpus.effective": func() error { _, err := tree.Processors("/a/u1001/c", nil); return err },
		"cpu.max":               func() error { _, err := tree.Processors("/a/u1001/c", nil); return err },
		"io.stat":               func() error { _, err := tree.Transferred("/a/u1001/c"); return err },
	} {
		path := filepath.Join(dir, "a/u1001/c", file)
		was, _ := os.ReadFile(path)
		write(t, path, "8:0 rbytes=x usage_usec y")
		if err := do(); err == nil || errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), file) {
			t.Errorf("nonsense in %s: %v", file, err)
		}
		write(t, path, string(was))
	}
}

// below makes a group in parent in every hierarchy, in which processes may be.
func below(t *testing.T, tree *cgroup.Tree, parent, name string) string {
	t.Helper()
	group := filepath.Join(parent, name)
	for _, top := range hierarchies(tree) {
		if err := os.MkdirAll(filepath.Join(top, group), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if tree.Version() == 1 {
		fill(t, group)
	}
	return group
}
