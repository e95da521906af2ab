package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/cgroup"
)

// No driver stands behind this number: opening its node says "no such device"
// where the group may open it, and "not permitted" where it may not.
const deviceMajor, deviceMinor = 120, 7

func TestADeviceIsTakenFromARunningGroupAndGivenBack(t *testing.T) {
	tree, parent := host(t)
	group, other := filepath.Join(parent, "u1001", "container"), filepath.Join(parent, "u1001", "other")
	ensure(t, tree, parent, bounds(-1, -1, -1))
	for _, g := range []string{group, other} {
		for _, top := range hierarchies(tree) {
			if err := os.Mkdir(filepath.Join(top, g), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tree.Version() == 2 {
		if err := tree.Deny(group, deviceMajor, deviceMinor); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("deny: %v, want it to be unsupported", err)
		}
		return
	}
	fill(t, group)
	fill(t, other)
	// Closed at first, as the engine starts a container.
	for _, g := range []string{group, other} {
		write(t, filepath.Join(root, "devices", g, "devices.deny"), "a")
		write(t, filepath.Join(root, "devices", g, "devices.allow"), "c 1:* rwm")
	}
	dir := t.TempDir()
	node, next := filepath.Join(dir, "node"), filepath.Join(dir, "next")
	for path, minor := range map[string]uint32{node: deviceMinor, next: deviceMinor + 1} {
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(deviceMajor, minor))); err != nil {
			t.Fatal(err)
		}
	}
	opens := func(g, path string) bool {
		t.Helper()
		out, err := inGroup(tree, g, "exec 3<>"+path).CombinedOutput()
		allowed, denied := strings.Contains(string(out), "No such device"), strings.Contains(string(out), "not permitted")
		if err == nil || allowed == denied {
			t.Fatalf("open: %q, %v", out, err)
		}
		return allowed
	}
	for _, step := range []struct {
		name   string
		change func(group string, major, minor uint32) error
		open   bool
	}{
		{"at first", nil, false},
		{"given", tree.Allow, true},
		{"given twice", tree.Allow, true},
		{"taken", tree.Deny, false},
		{"taken twice", tree.Deny, false},
		{"given back", tree.Allow, true},
	} {
		if step.change != nil {
			if err := step.change(group, deviceMajor, deviceMinor); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		if got := opens(group, node); got != step.open {
			t.Errorf("%s: open is %v, want %v", step.name, got, step.open)
		}
		if got, err := tree.MayOpen(group, deviceMajor, deviceMinor); err != nil || got != step.open {
			t.Errorf("%s: it is read as %v, %v", step.name, got, err)
		}
		if got, err := tree.MayOpen(group, 1, deviceMinor); err != nil || !got {
			t.Errorf("%s: a rule for a whole kind is read as %v, %v", step.name, got, err)
		}
		if opens(group, next) || opens(other, node) {
			t.Errorf("%s: the neighbouring device or group has changed too", step.name)
		}
	}
}

// fill gives a group of v1 the processors that it can't be entered without.
func fill(t *testing.T, group string) {
	t.Helper()
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if path := filepath.Join(root, "cpuset", group, name); exists(path) {
			write(t, path, read(t, filepath.Join(root, "cpuset", filepath.Dir(group), name)))
		}
	}
}

func TestDevicesOfAGroupThatIsNotThere(t *testing.T) {
	tree, parent := host(t)
	if tree.Version() == 2 {
		return // told by TestDevicesOfVersion2
	}
	if err := tree.Allow(filepath.Join(parent, "none"), deviceMajor, deviceMinor); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want it to wrap os.ErrNotExist", err)
	}
}

func TestDevicesOfVersion2(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cgroup.controllers"), "cpu memory pids")
	tree, err := cgroup.Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string, uint32, uint32) error{"allow": tree.Allow, "deny": tree.Deny} {
		if err := change("/ds01/u1001", deviceMajor, deviceMinor); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want it to be unsupported", name, err)
		}
	}
}
