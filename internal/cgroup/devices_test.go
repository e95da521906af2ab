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

// neighbours are a group of v2 with one in it and one beside it, and nodes of three
// devices by their minors.
type neighbours struct {
	t                   *testing.T
	where               string // the tree's mount
	group, below, other string
	nodes               map[uint32]string
}

func newNeighbours(t *testing.T, where string) neighbours {
	t.Helper()
	parent := fmt.Sprintf("/ds01t%d", os.Getpid())
	n := neighbours{t, where, parent + "/container", parent + "/container/below", parent + "/other", map[uint32]string{}}
	for _, g := range []string{parent, n.group, n.below, n.other} {
		path := n.path(g)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	dir := t.TempDir()
	for _, minor := range []uint32{deviceMinor, deviceMinor + 1, deviceMinor + 2} {
		n.nodes[minor] = filepath.Join(dir, strconv.Itoa(int(minor)))
		if err := unix.Mknod(n.nodes[minor], unix.S_IFCHR|0o666, int(unix.Mkdev(deviceMajor, minor))); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func (n neighbours) path(group string) string { return filepath.Join(n.where, group) }

func (n neighbours) opens(group string, minor uint32) bool {
	n.t.Helper()
	out, err := exec.Command("sh", "-c", "echo $$ > "+n.path(group)+"/cgroup.procs && exec 3<>"+n.nodes[minor]).CombinedOutput()
	allowed, denied := strings.Contains(string(out), "No such device"), strings.Contains(string(out), "not permitted")
	if err == nil || allowed == denied {
		n.t.Fatalf("open: %q, %v", out, err)
	}
	return allowed
}

// are checks that these devices alone can be opened in the group and in the one in it,
// or can't, while in the one beside it all are as they were.
func (n neighbours) are(open bool, step string, minors ...uint32) {
	n.t.Helper()
	for minor := range n.nodes {
		for _, g := range []string{n.group, n.below, n.other} {
			want := open == (g != n.other && slices.Contains(minors, minor))
			if got := n.opens(g, minor); got != want {
				n.t.Errorf("%s: minor %d of %s opens: %v", step, minor, g, got)
			}
		}
	}
}

func (n neighbours) do(change func(group string, major, minor uint32) error, minor uint32) {
	n.t.Helper()
	if err := change(n.group, deviceMajor, minor); err != nil {
		n.t.Fatal(err)
	}
}

// TestADeviceIsTakenOnVersion2: a program of ds01's closes it, beside those that
// others have attached, in the group and in those below.
func TestADeviceIsTakenOnVersion2(t *testing.T) {
	tree, where := version2(t)
	if err := tree.MayChange(); err != nil {
		t.Fatal(err)
	}
	n := newNeighbours(t, where)
	want := func(step string, closed ...uint32) {
		t.Helper()
		n.are(false, step, closed...)
	}
	want("at first")
	n.do(tree.Allow, deviceMinor)
	want("given what was never taken")
	n.do(tree.Deny, deviceMinor)
	want("one taken", deviceMinor)
	n.do(tree.Deny, deviceMinor)
	n.do(tree.Deny, deviceMinor+1)
	want("two taken", deviceMinor, deviceMinor+1)
	n.do(tree.Allow, deviceMinor)
	n.do(tree.Allow, deviceMinor+2)
	want("one given back", deviceMinor+1)
	if _, err := tree.MayOpen(n.group, deviceMajor, deviceMinor); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("what may be opened: %v", err)
	}
	for name, change := range map[string]func(string, uint32, uint32) error{"allow": tree.Allow, "deny": tree.Deny} {
		if err := change(n.group+"/none", deviceMajor, deviceMinor); !errors.Is(err, os.ErrNotExist) {
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
	n := newNeighbours(t, where)
	const ofMajor = 4
	memory := asm.Instructions{ // allows /dev/null and its like
		asm.LoadMem(asm.R2, asm.R1, ofMajor, asm.Word), asm.Mov.Imm(asm.R0, 0),
		asm.JNE.Imm(asm.R2, 1, "end"), asm.Mov.Imm(asm.R0, 1), asm.Return().WithSymbol("end"),
	}
	for _, g := range []string{n.group, n.other} {
		attached(t, n.path(g), memory) // runc's
		attached(t, n.path(g), memory) // systemd's
	}
	want := func(step string, open ...uint32) {
		t.Helper()
		n.are(true, step, open...)
	}
	want("at first")
	n.do(tree.Allow, deviceMinor)
	want("one added", deviceMinor)
	if err := exec.Command("sh", "-c", "echo $$ > "+n.path(n.group)+"/cgroup.procs && echo >/dev/null && ! mknod "+t.TempDir()+"/node c 120 7").Run(); err != nil {
		t.Errorf("what it could do before, and that alone: %v", err)
	}
	count, length := programs(t, n.path(n.group))
	n.do(tree.Allow, deviceMinor)
	if after, now := programs(t, n.path(n.group)); count != 2 || after != count || now != length {
		t.Errorf("%d programs of %d instructions became %d of %d", count, length, after, now)
	}
	n.do(tree.Allow, deviceMinor+1)
	want("two added", deviceMinor, deviceMinor+1)
	n.do(tree.Deny, deviceMinor)
	want("one taken", deviceMinor+1)
	n.do(tree.Allow, deviceMinor+2)
	want("another added", deviceMinor+1, deviceMinor+2)
	n.do(tree.Deny, deviceMinor+2)
	n.do(tree.Allow, deviceMinor)
	want("one given back", deviceMinor, deviceMinor+1)

	attached(t, n.path(n.group), asm.Instructions{asm.FnKtimeGetNs.Call(), asm.Mov.Imm(asm.R0, 1), asm.Return()})
	if err := tree.Allow(n.group, deviceMajor, deviceMinor+2); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("beside a program that can't be copied: %v", err)
	}
	want("refused", deviceMinor, deviceMinor+1)
}
