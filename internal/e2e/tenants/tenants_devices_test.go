package tenants_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestTheKernelKeepsDevicesApart puts nodes of both devices into alice's
// container, as root on the host, past everything ds01 does: hers answers that
// there is no driver, bob's is refused.
func TestTheKernelKeepsDevicesApart(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			lab.EachClient(t, l, func(t *testing.T, docker string) { devicesAreApart(t, l, docker) })
		})
	}
}

// mayOpen and mayNotOpen are what a container is told that opens a node: no driver
// is behind ours.
const mayOpen, mayNotOpen = "No such device or address", "Operation not permitted"

// putNode makes a node that everybody may open.
func putNode(t *testing.T, path string, dev int) {
	t.Helper()
	if err := errors.Join(unix.Mknod(path, unix.S_IFCHR|0o666, dev), unix.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
}

func devicesAreApart(t *testing.T, l *lab.Lab, docker string) {
	defer l.ClearAll()
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, docker, "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	}
	node, hers := lab.CardNode(t, l, "alice", docker, "web")
	_, his := lab.CardNode(t, l, "bob", docker, "web")
	if hers == his {
		t.Fatalf("both hold %s", node)
	}
	root := filepath.Join("/proc", l.OK("alice", docker, "inspect", "-f", "{{.State.Pid}}", "web"), "root")
	for name, dev := range map[string]int{"hers": hers, "his": his} {
		putNode(t, filepath.Join(root, name), dev)
	}
	for path, want := range map[string]string{"/dev/" + node: mayOpen, "/hers": mayOpen, "/his": mayNotOpen} {
		for _, how := range []string{"exec 3<" + path, "exec 3>" + path, "exec 3<>" + path} {
			r := l.Run("alice", docker, "exec", "web", "sh", "-c", how)
			if r.Code == 0 || !strings.Contains(r.Err+r.Out, want) {
				t.Errorf("%s: %s, want %s", how, r.Err+r.Out, want)
			}
		}
	}
	if r := l.Run("alice", docker, "exec", "web", "mknod", "/made", "c", "120", "1"); r.Code == 0 || !strings.Contains(r.Err, mayNotOpen) {
		t.Errorf("alice makes a node herself: %s %s", r.Out, r.Err)
	}
	for _, g := range l.GPUs() {
		if g.Holder != nil && g.Holder.User != l.Login("alice") && g.Holder.User != l.Login("bob") {
			t.Errorf("%s is held by %s", g.Slot, g.Holder.User)
		}
	}
}
