package tenants_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// cutHost is a host with a whole card and one that is cut.
const cutHost = "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb], mig: {1: [3g.40gb, 1g.10gb, 1g.10gb, 1g.10gb]}}}"

// heldBy returns the slots that the person holds, in order.
func heldBy(l *lab.Lab, who string) string {
	var slots []string
	for _, g := range l.GPUs() {
		if g.Holder != nil && g.Holder.User == l.Login(who) {
			slots = append(slots, g.Slot)
		}
	}
	return strings.Join(slots, " ")
}

// nodesOf returns the numbers of the device nodes that a container has of GPUs.
func nodesOf(t *testing.T, l *lab.Lab, who, docker, name string) (devs []int) {
	t.Helper()
	root := filepath.Join("/proc", l.OK(who, docker, "inspect", "-f", "{{.State.Pid}}", name), "root/dev")
	found, err := filepath.Glob(filepath.Join(root, "nvidia*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		devs = append(devs, int(st.Rdev))
	}
	return devs
}

// TestGPUsByKindAndByName asks through stock clients for devices of several
// kinds, for one by its CDI name, and for one by its slot.
func TestGPUsByKindAndByName(t *testing.T) {
	l := start(t, lab.Options{
		GPU: cutHost, Admins: []string{"root", "dora"},
		Limits: "defaults: {max_mig_instances: 3, max_gpus_per_container: 3, allow_full_gpu: true}\n",
	})
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		mixIsKeptApart(t, l, docker)
		namesAreAskedFor(t, l, docker)
	})
}

// mixIsKeptApart tries in the kernel who may open what.
func mixIsKeptApart(t *testing.T, l *lab.Lab, docker string) {
	defer l.ClearAll()
	told := l.Run("alice", docker, "run", "-d", "--name", "mix", "--gpus", `"device=2x1g.10gb,full"`, "busybox", "sleep", "1000")
	lab.Contains(t, told.Err, "WARNING: ds01: the container has 2 MIG instances", "A CUDA program sees one", "--gpus 3g.40gb.")
	l.OK("bob", docker, "run", "-d", "--name", "one", "--gpus", `"device=1g.10gb"`, "busybox", "sleep", "1000")
	if got := heldBy(l, "alice") + ", " + heldBy(l, "bob"); got != "0 1.1 1.2, 1.3" {
		t.Fatalf("alice and bob hold %s", got)
	}
	hers, his := nodesOf(t, l, "alice", docker, "mix"), nodesOf(t, l, "bob", docker, "one")
	if len(hers) != 3 || len(his) != 1 {
		t.Fatalf("alice has the nodes %v and bob %v, want three and one", hers, his)
	}
	mayNot(t, l, docker, "alice", "mix", his[0])
	for _, dev := range hers {
		mayNot(t, l, docker, "bob", "one", dev)
	}
}

// mayNot puts a node into the container, as root on the host, and has the
// container open it.
func mayNot(t *testing.T, l *lab.Lab, docker, who, name string, dev int) {
	t.Helper()
	root := filepath.Join("/proc", l.OK(who, docker, "inspect", "-f", "{{.State.Pid}}", name), "root")
	node := filepath.Join(root, "other")
	_ = unix.Unlink(node)
	putNode(t, node, dev)
	if r := l.Run(who, docker, "exec", name, "sh", "-c", "exec 3</other"); r.Code == 0 || !strings.Contains(r.Err+r.Out, mayNotOpen) {
		t.Errorf("%s opens %d:%d of somebody else: %s%s", who, unix.Major(uint64(dev)), unix.Minor(uint64(dev)), r.Out, r.Err)
	}
}

// namesAreAskedFor tries what clients send for --device, and that a slot is an
// administrator's to choose.
func namesAreAskedFor(t *testing.T, l *lab.Lab, docker string) {
	defer l.ClearAll()
	r := l.Run("alice", docker, "run", "-d", "--name", "cdi", "--device", "ds01.io/gpu=3g.40gb", "busybox", "sleep", "1000")
	if docker == lab.Debian {
		lab.Contains(t, r.Err, "is not an absolute path") // this client knows no CDI
	} else if r.Code != 0 || heldBy(l, "alice") != "1.0" {
		t.Errorf("alice holds %q: %s", heldBy(l, "alice"), r.Err)
	}
	refused := l.Run("bob", docker, "run", "--rm", "--gpus", "device=1.3", "busybox", "true")
	lab.Contains(t, refused.Err, "device 1.3", "isn't reserved for you", "--gpus 1g.10gb")
	l.OK("dora", docker, "run", "-d", "--name", "chosen", "--gpus", "device=1:3", "busybox", "sleep", "1000")
	if got := heldBy(l, "dora"); got != "1.3" {
		t.Errorf("the administrator holds %s", got)
	}
}
