package cgroup_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// set is what the kernel says a group has.
type set struct{ cpu, memory, swap, tasks string }

func has(t *testing.T, tree *cgroup.Tree, group string) set {
	t.Helper()
	at := func(v1, v2 string) string { return read(t, file(tree, group, v1, v2)) }
	s := set{
		cpu: at("cpu.cfs_quota_us", "cpu.max"), memory: at("memory.limit_in_bytes", "memory.max"),
		tasks: at("pids.max", "pids.max"),
	}
	if swap := file(tree, group, "memory.memsw.limit_in_bytes", "memory.swap.max"); exists(swap) {
		s.swap = read(t, swap)
	}
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestLimitsHoldAtOnceUpAndDown(t *testing.T) {
	const v1None = "9223372036854771712"
	for name, below := range map[string]string{"below one parent": "", "below nested parents": "/a/people"} {
		t.Run(name, func(t *testing.T) {
			tree, parent := host(t)
			group := filepath.Join(parent+below, "u1001")
			for _, step := range []struct {
				name   string
				limits cgroup.Limits
				v1, v2 set
			}{
				{"first", bounds(1.5, 64*MiB, 100), set{"150000", "67108864", "67108864", "100"}, set{"150000 100000", "67108864", "0", "100"}},
				{"again", bounds(1.5, 64*MiB, 100), set{"150000", "67108864", "67108864", "100"}, set{"150000 100000", "67108864", "0", "100"}},
				{"up", bounds(16, 512*MiB, 4096), set{"1600000", "536870912", "536870912", "4096"}, set{"1600000 100000", "536870912", "0", "4096"}},
				{"down", bounds(0.5, 32*MiB, 10), set{"50000", "33554432", "33554432", "10"}, set{"50000 100000", "33554432", "0", "10"}},
				{"without", bounds(-1, -1, -1), set{"-1", v1None, v1None, "max"}, set{"max 100000", "max", "max", "max"}},
				{"with again", bounds(2, 64*MiB, 7), set{"200000", "67108864", "67108864", "7"}, set{"200000 100000", "67108864", "0", "7"}},
				{"less processor than the kernel counts", bounds(0.001, 64*MiB, 7), set{"1000", "67108864", "67108864", "7"}, set{"1000 100000", "67108864", "0", "7"}},
			} {
				ensure(t, tree, parent+below, step.limits)
				want := step.v1
				if tree.Version() == 2 {
					want = step.v2
				}
				got := has(t, tree, group)
				if got.swap == "" {
					want.swap = "" // not counted on this kernel
				}
				if got != want {
					t.Errorf("%s: %+v, want %+v", step.name, got, want)
				}
			}
		})
	}
}

func TestLoweringHoldsForContainersThatHaveMore(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(4, 256*MiB, 100))
	below := func(group string) string {
		return file(tree, filepath.Join(parent, "u1001", group), "cpu.cfs_quota_us", "cpu.max")
	}
	quota := func(group, value string) {
		t.Helper()
		dir := filepath.Dir(below(group))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if tree.Version() == 2 { // as the engine does
			write(t, filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), "+cpu")
		}
		write(t, below(group), value)
	}
	quota("more", "300000")
	quota("less", "50000")
	quota("none", map[int]string{1: "-1", 2: "max"}[tree.Version()])
	quota("none/within", "200000")
	ensure(t, tree, parent, bounds(1, 256*MiB, 100))
	want := map[string]string{"more": "100000", "less": "50000", "none": "-1", "none/within": "100000"}
	if tree.Version() == 2 { // the kernel enforces the least of all levels
		want = map[string]string{"more": "300000 100000", "less": "50000 100000", "none": "max 100000", "none/within": "200000 100000"}
	}
	for group, w := range want {
		if got := read(t, below(group)); got != w {
			t.Errorf("%s has %s, want %s", group, got, w)
		}
	}
}

func TestMemoryInUseIsNotTakenAway(t *testing.T) {
	tree, parent := host(t)
	if tree.Version() == 2 {
		t.Log("on v2 the kernel ends what holds too much; see TestMoreMemoryThanAllowedEndsTheProcess")
		return
	}
	ensure(t, tree, parent, bounds(1, 256*MiB, 100))
	running(t, tree, filepath.Join(parent, "u1001"), "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ready; sleep 60")
	err := tree.Ensure(parent, "u1001", bounds(1, 8*MiB, 100))
	if !errors.Is(err, problem.ErrLimit) || !strings.Contains(err.Error(), "8MiB") {
		t.Errorf("%v, want kind ErrLimit and the amount", err)
	}
}

func TestMoreMemoryThanAllowedEndsTheProcess(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(1, 32*MiB, 100))
	// A container's own group lies below.
	below := filepath.Join(parent, "u1001", "c")
	for _, top := range hierarchies(tree) {
		if err := os.Mkdir(filepath.Join(top, below), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if tree.Version() == 1 {
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			write(t, file(tree, below, f, ""), read(t, file(tree, filepath.Dir(below), f, "")))
		}
	}
	err := inGroup(tree, below, "exec tail /dev/zero").Run() // keeps all it reads
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v, want it killed", err)
	}
}

func TestMoreProcessesThanAllowedAreRefused(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(1, 64*MiB, 10))
	cmd := inGroup(tree, filepath.Join(parent, "u1001"), "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 >/dev/null 2>&1 & done")
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // those that started
	if err == nil || !strings.Contains(strings.ToLower(string(out)), "fork") {
		t.Errorf("twelve processes started: %v, %s", err, out)
	}
}

func TestRemoveKeepsWhatIsInUse(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(1, 64*MiB, 10))
	if err := tree.Ensure(parent, "u1002", bounds(1, 64*MiB, 10)); err != nil {
		t.Fatal(err)
	}
	cmd := inGroup(tree, filepath.Join(parent, "u1001"), "exec sleep 60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is in the group", func() bool {
		u, err := tree.Usage(filepath.Join(parent, "u1001"))
		return err == nil && u.Pids == 1
	})
	if err := tree.Remove(parent, "u1001"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("in use: %v, want EBUSY", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "removed once it is empty", func() bool { return tree.Remove(parent, "u1001") == nil })
	if err := tree.Remove(parent, "u1001"); err != nil {
		t.Errorf("absent: %v", err)
	}
	if _, err := tree.Usage(filepath.Join(parent, "u1002")); err != nil {
		t.Errorf("another's group went too: %v", err)
	}
	if err := tree.Remove(parent, "u1002"); err != nil {
		t.Error(err)
	}
	for _, top := range hierarchies(tree) {
		if exists(filepath.Join(top, parent)) {
			t.Errorf("the empty parent stays in %s", top)
		}
	}
}

func TestUsageIsOfTheWholeGroup(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, 256*MiB, 100))
	group := filepath.Join(parent, "u1001")
	if u, err := tree.Usage(group); err != nil || u.Pids != 0 || u.MemoryLimit != 256<<20 {
		t.Errorf("nobody there: %+v, %v", u, err)
	}
	running(t, tree, group, "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 60 & echo ready; while :; do :; done")
	eventually(t, "processor time is counted", func() bool {
		u, err := tree.Usage(group)
		return err == nil && u.CPUNanos > int64(200*time.Millisecond)
	})
	u, err := tree.Usage(group)
	if err != nil || u.Pids != 2 || u.MemoryBytes < 28<<20 || u.MemoryBytes > 200<<20 {
		t.Errorf("%+v, %v; want 2 processes with 30 MB", u, err)
	}
	if _, err := tree.Usage(group + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent group: %v, want ErrNotExist", err)
	}
	ensure(t, tree, parent, bounds(-1, -1, -1))
	if u, err := tree.Usage(group); err != nil || u.MemoryLimit != 0 {
		t.Errorf("without a limit: %+v, %v", u, err)
	}
}

func TestAFolderWithoutGroupsIsNoTree(t *testing.T) {
	if _, err := cgroup.Detect(t.TempDir()); err == nil {
		t.Error("it was taken for a tree")
	}
}

// A v2 tree as its files look, for hosts with v1: the kernel isn't there to
// make and check them.
func TestFilesOfVersion2(t *testing.T) {
	dir := t.TempDir()
	groups := []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a/u1001")}
	for _, g := range groups {
		if err := os.MkdirAll(g, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(g, "cgroup.controllers"), "cpu memory pids")
		write(t, filepath.Join(g, "cgroup.subtree_control"), "memory pids")
		write(t, filepath.Join(g, "memory.swap.max"), "max")
	}
	tree, err := cgroup.Detect(dir)
	if err != nil || tree.Version() != 2 {
		t.Fatal(tree, err)
	}
	l := bounds(1.5, 64*MiB, 100)
	l.MemoryHigh = quantity.To(60 * MiB)
	ensure(t, tree, "/a", l)
	for name, want := range map[string]string{
		"cgroup.subtree_control": "+cpu", "a/cgroup.subtree_control": "+cpu", // missing there
		"a/u1001/cpu.max": "150000 100000", "a/u1001/memory.max": "67108864", "a/u1001/memory.high": "62914560",
		"a/u1001/memory.swap.max": "0", "a/u1001/pids.max": "100", "a/u1001/cgroup.subtree_control": "memory pids",
	} {
		if got := read(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	write(t, filepath.Join(dir, "a/cgroup.subtree_control"), "cpu memory pids")
	write(t, filepath.Join(dir, "cgroup.subtree_control"), "cpu memory pids")
	past := time.Unix(1, 0)
	all, err := filepath.Glob(filepath.Join(dir, "a/u1001/*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if err := os.Chtimes(f, past, past); err != nil {
			t.Fatal(err)
		}
	}
	ensure(t, tree, "/a", l)
	for _, f := range all {
		if info, err := os.Stat(f); err != nil || !info.ModTime().Equal(past) {
			t.Errorf("%s was written although nothing had changed (%v)", f, err)
		}
	}
}

func BenchmarkEnsureWithoutChange(b *testing.B) {
	tree, parent := host(b)
	l := bounds(1.5, 64*MiB, 100)
	for b.Loop() {
		ensure(b, tree, parent, l)
	}
}

func BenchmarkUsage(b *testing.B) {
	tree, parent := host(b)
	ensure(b, tree, parent, bounds(1.5, 64*MiB, 100))
	for b.Loop() {
		if _, err := tree.Usage(filepath.Join(parent, "u1001")); err != nil {
			b.Fatal(err)
		}
	}
}

// Whoever made a group may have been killed at any step of it.
func TestAGroupThatWasHalfMadeIsMadeWhole(t *testing.T) {
	tree, parent := host(t)
	group := parent + "/u1001"
	for _, top := range hierarchies(tree) {
		for _, gone := range [][]string{{group}, {group, parent}} {
			ensure(t, tree, parent, bounds(1, 64*MiB, 10))
			for _, dir := range gone {
				if err := os.Remove(filepath.Join(top, dir)); err != nil {
					t.Fatal(err)
				}
			}
			ensure(t, tree, parent, bounds(1, 64*MiB, 10))
			if !exists(filepath.Join(top, group, "cgroup.procs")) {
				t.Errorf("without %s in %s it isn't made", gone, top)
			}
		}
	}
	if tree.Version() == 2 {
		return
	}
	cpuset := filepath.Join(root, "cpuset")
	for _, made := range [][]string{{parent}, {parent, group}} { // the last of them in part
		last := made[len(made)-1]
		for _, filled := range [][]string{nil, {"cpuset.cpus"}, {"cpuset.mems"}} {
			for _, gone := range []string{group, parent} {
				if err := os.Remove(filepath.Join(cpuset, gone)); err != nil {
					t.Fatal(err)
				}
			}
			for _, dir := range made {
				if err := os.Mkdir(filepath.Join(cpuset, dir), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
					if dir != last || slices.Contains(filled, name) {
						write(t, filepath.Join(cpuset, dir, name), read(t, filepath.Join(cpuset, name)))
					}
				}
			}
			ensure(t, tree, parent, bounds(1, 64*MiB, 10))
			if out, err := inGroup(tree, group, "true").CombinedOutput(); err != nil {
				t.Errorf("with %v in %s nothing runs there: %v\n%s", filled, last, err, out)
			}
		}
	}
}
