package cgroup_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
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
		return // told by TestADeviceIsTakenOnVersion2
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
		return // told by TestADeviceIsTakenOnVersion2
	}
	if err := tree.Allow(filepath.Join(parent, "none"), deviceMajor, deviceMinor); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want it to wrap os.ErrNotExist", err)
	}
}

// version2 returns a tree of v2 and where it is mounted, which a host of v1 can have beside its own.
func version2(t *testing.T) (tree *cgroup.Tree, where string) {
	t.Helper()
	host(t)
	where = root
	if !exists(filepath.Join(root, "cgroup.controllers")) {
		where = t.TempDir()
		if err := unix.Mount("none", where, "cgroup2", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(where, 0); err != nil {
				t.Error(err)
			}
		})
	}
	tree, err := cgroup.Detect(where)
	if err != nil || tree.Version() != 2 {
		t.Fatalf("%v, %v", tree, err)
	}
	return tree, where
}

// groups2 makes groups, one in another and one beside it, and nodes of three devices,
// by their minors.
func groups2(t *testing.T, where string) (group, below, other string, nodes map[uint32]string, opens func(group string, minor uint32) bool) {
	t.Helper()
	parent := fmt.Sprintf("/ds01t%d", os.Getpid())
	group, below, other = parent+"/container", parent+"/container/below", parent+"/other"
	for _, g := range []string{parent, group, below, other} {
		path := filepath.Join(where, g)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	dir := t.TempDir()
	nodes = map[uint32]string{}
	for _, minor := range []uint32{deviceMinor, deviceMinor + 1, deviceMinor + 2} {
		nodes[minor] = filepath.Join(dir, strconv.Itoa(int(minor)))
		if err := unix.Mknod(nodes[minor], unix.S_IFCHR|0o666, int(unix.Mkdev(deviceMajor, minor))); err != nil {
			t.Fatal(err)
		}
	}
	return group, below, other, nodes, func(g string, minor uint32) bool {
		t.Helper()
		out, err := exec.Command("sh", "-c", "echo $$ > "+filepath.Join(where, g)+"/cgroup.procs && exec 3<>"+nodes[minor]).CombinedOutput()
		allowed, denied := strings.Contains(string(out), "No such device"), strings.Contains(string(out), "not permitted")
		if err == nil || allowed == denied {
			t.Fatalf("open: %q, %v", out, err)
		}
		return allowed
	}
}

// TestADeviceIsTakenOnVersion2: a program of ds01's closes it, beside those that
// others have attached, in the group and in those below.
func TestADeviceIsTakenOnVersion2(t *testing.T) {
	tree, where := version2(t)
	if err := tree.MayChange(); err != nil {
		t.Fatal(err)
	}
	group, below, other, nodes, opens := groups2(t, where)
	want := func(step string, closed ...uint32) {
		t.Helper()
		for minor := range nodes {
			for _, g := range []string{group, below, other} {
				if open := opens(g, minor); open == (g != other && slices.Contains(closed, minor)) {
					t.Errorf("%s: minor %d of %s opens: %v", step, minor, g, open)
				}
			}
		}
	}
	do := func(change func(group string, major, minor uint32) error, minor uint32) {
		t.Helper()
		if err := change(group, deviceMajor, minor); err != nil {
			t.Fatal(err)
		}
	}
	want("at first")
	do(tree.Allow, deviceMinor)
	want("given what was never taken")
	do(tree.Deny, deviceMinor)
	want("one taken", deviceMinor)
	do(tree.Deny, deviceMinor)
	do(tree.Deny, deviceMinor+1)
	want("two taken", deviceMinor, deviceMinor+1)
	do(tree.Allow, deviceMinor)
	do(tree.Allow, deviceMinor+2)
	want("one given back", deviceMinor+1)
	if _, err := tree.MayOpen(group, deviceMajor, deviceMinor); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("what may be opened: %v", err)
	}
	for name, change := range map[string]func(string, uint32, uint32) error{"allow": tree.Allow, "deny": tree.Deny} {
		if err := change(group+"/none", deviceMajor, deviceMinor); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s in no group: %v", name, err)
		}
	}
}

// attached attaches a program to a group, as runc and systemd do.
func attached(t *testing.T, path string, does asm.Instructions) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupDevice, License: "Apache", Instructions: does})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: int(dir.Fd()), Program: p, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI}); err != nil {
		t.Fatal(err)
	}
}

// programs returns how many programs decide of a group's devices, and how long they are
// together.
func programs(t *testing.T, path string) (n, length int) {
	t.Helper()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	all, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all.Programs {
		p, err := ebpf.NewProgramFromID(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		does, err := info.Instructions()
		if err := errors.Join(err, p.Close()); err != nil {
			t.Fatal(err)
		}
		length += len(does)
	}
	return len(all.Programs), length
}

// TestADeviceIsAddedOnVersion2: all that decide of a group's devices come to allow it,
// and nothing else.
func TestADeviceIsAddedOnVersion2(t *testing.T) {
	tree, where := version2(t)
	group, below, other, nodes, opens := groups2(t, where)
	const ofMajor = 4
	memory := asm.Instructions{ // allows /dev/null and its like
		asm.LoadMem(asm.R2, asm.R1, ofMajor, asm.Word), asm.Mov.Imm(asm.R0, 0),
		asm.JNE.Imm(asm.R2, 1, "end"), asm.Mov.Imm(asm.R0, 1), asm.Return().WithSymbol("end"),
	}
	for _, g := range []string{group, other} {
		attached(t, filepath.Join(where, g), memory) // runc's
		attached(t, filepath.Join(where, g), memory) // systemd's
	}
	want := func(step string, open ...uint32) {
		t.Helper()
		for minor := range nodes {
			for _, g := range []string{group, below, other} {
				if got := opens(g, minor); got != (g != other && slices.Contains(open, minor)) {
					t.Errorf("%s: minor %d of %s opens: %v", step, minor, g, got)
				}
			}
		}
	}
	do := func(change func(group string, major, minor uint32) error, minor uint32) {
		t.Helper()
		if err := change(group, deviceMajor, minor); err != nil {
			t.Fatal(err)
		}
	}
	want("at first")
	do(tree.Allow, deviceMinor)
	want("one added", deviceMinor)
	if err := exec.Command("sh", "-c", "echo $$ > "+filepath.Join(where, group)+"/cgroup.procs && echo >/dev/null && ! mknod "+t.TempDir()+"/node c 120 7").Run(); err != nil {
		t.Errorf("what it could do before, and that alone: %v", err)
	}
	n, length := programs(t, filepath.Join(where, group))
	do(tree.Allow, deviceMinor)
	if m, now := programs(t, filepath.Join(where, group)); n != 2 || m != n || now != length {
		t.Errorf("%d programs of %d instructions became %d of %d", n, length, m, now)
	}
	do(tree.Allow, deviceMinor+1)
	want("two added", deviceMinor, deviceMinor+1)
	do(tree.Deny, deviceMinor)
	want("one taken", deviceMinor+1)
	do(tree.Allow, deviceMinor+2)
	want("another added", deviceMinor+1, deviceMinor+2)
	do(tree.Deny, deviceMinor+2)
	do(tree.Allow, deviceMinor)
	want("one given back", deviceMinor, deviceMinor+1)

	attached(t, filepath.Join(where, group), asm.Instructions{asm.FnKtimeGetNs.Call(), asm.Mov.Imm(asm.R0, 1), asm.Return()})
	if err := tree.Allow(group, deviceMajor, deviceMinor+2); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("beside a program that can't be copied: %v", err)
	}
	want("refused", deviceMinor, deviceMinor+1)
}
