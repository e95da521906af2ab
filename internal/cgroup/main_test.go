package cgroup_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/quantity"
)

const root = "/sys/fs/cgroup"

// MiB is a size in these tests.
const MiB = quantity.ByteSize(1 << 20)

// host returns this host's own tree and a parent in it that is this test's
// alone, and gone after it.
func host(t testing.TB) (tree *cgroup.Tree, parent string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("control groups need root")
		}
		t.Skip("control groups need root")
	}
	tree, err := cgroup.Detect(root)
	if err != nil {
		t.Fatal(err)
	}
	parent = fmt.Sprintf("/ds01t-%d", os.Getpid())
	t.Cleanup(func() {
		for _, top := range hierarchies(tree) {
			removeAll(t, filepath.Join(top, parent))
		}
	})
	return tree, parent
}

// hierarchies returns where groups have a directory.
func hierarchies(tree *cgroup.Tree) []string {
	if tree.Version() == 2 {
		return []string{root}
	}
	var all []string
	for _, c := range []string{"cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio", "cpuset"} {
		if _, err := os.Stat(filepath.Join(root, c, "cgroup.procs")); err == nil {
			all = append(all, filepath.Join(root, c))
		}
	}
	return all
}

// removeAll removes a group with those below it. What ran there has been
// killed; the kernel takes a moment to forget it.
func removeAll(t testing.TB, dir string) {
	var below []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			below = append([]string{path}, below...)
		}
		return nil
	})
	for _, d := range below {
		eventually(t, "remove "+d, func() bool { err := os.Remove(d); return err == nil || os.IsNotExist(err) })
	}
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to: %s", what)
		}
	}
}

// file returns a file of a group by its name on v1 and v2.
func file(tree *cgroup.Tree, group, v1, v2 string) string {
	if tree.Version() == 2 {
		return filepath.Join(root, group, v2)
	}
	controller, _, _ := strings.Cut(v1, ".")
	return filepath.Join(root, controller, group, v1)
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func write(t testing.TB, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inGroup returns a shell that enters the group in every hierarchy and then
// runs the script.
func inGroup(tree *cgroup.Tree, group, script string) *exec.Cmd {
	var enter strings.Builder
	for _, top := range hierarchies(tree) {
		fmt.Fprintf(&enter, "echo $$ >%s/cgroup.procs\n", filepath.Join(top, group))
	}
	cmd := exec.Command("sh", "-euc", enter.String()+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// running starts the script in the group, until the test ends, and waits for
// its first line.
func running(t *testing.T, tree *cgroup.Tree, group, script string) {
	t.Helper()
	cmd := inGroup(tree, group, script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
	})
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatalf("the script ended: %v", err)
	}
}

func ensure(t testing.TB, tree *cgroup.Tree, parent string, l cgroup.Limits) {
	t.Helper()
	if err := tree.Ensure(parent, "u1001", l); err != nil {
		t.Fatal(err)
	}
}

// bounds returns limits; a number below zero is none.
func bounds(cpus float64, memory quantity.ByteSize, tasks int64) cgroup.Limits {
	l := cgroup.Limits{
		CPUs: quantity.To(quantity.CPUs(cpus * 1e9)), Memory: quantity.To(memory),
		MemoryHigh: quantity.None[quantity.ByteSize](), Tasks: quantity.To(tasks),
	}
	l.CPUs.Unlimited, l.Memory.Unlimited, l.Tasks.Unlimited = cpus < 0, memory < 0, tasks < 0
	return l
}
