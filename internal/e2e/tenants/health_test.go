package tenants_test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestACardOutOfUse: root drains the card that alice's container runs on, and
// later it falls off the bus. Her work runs on, she is told, and nobody is
// granted the card, also after the daemon was killed.
func TestACardOutOfUse(t *testing.T) {
	l := start(t, lab.Options{GPU: "{provider: sim, sim: {gpus: [a100-80gb]}}", Users: []string{"alice", "bob"}})
	card := l.GPUs()[0].UUID
	screen := lab.Screen(t, l, "alice")
	outOfUse(t, l, screen, "drained: a fan (by root)", "gpu undrain 0", "gpu", "drain", "0", "--reason", "a fan")
	l.OK("root", l.Binary(), "gpu", "sim", "set", card, "--xid", "31") // a program's own error
	outOfUse(t, l, screen, "XID 79: the card has fallen off the bus", "Reboot the host", "gpu", "sim", "set", card, "--xid", "79")
	if r := runOnGPU(l, "bob", "b"); r.Code != 0 {
		t.Errorf("bob, in the end: %+v", r)
	}
	if r := l.DS01("bob", "gpu", "drain", "0"); r.Code != 5 {
		t.Errorf("bob may drain: %+v", r)
	}
	if out := l.OK("root", l.Binary(), "audit", "show", "--json"); !strings.Contains(out, "gpu fault") || !strings.Contains(out, "gpu undrain") || !strings.Contains(out, `"warn"`) {
		t.Errorf("not written down:\n%s", out)
	}
}

// TestAProcessOutsideOfContainersKeepsAGPU: bob's program on the host keeps a
// card from being granted, and is named to everybody. A container's own
// processes don't, and bob's on alice's card is named while hers run on.
func TestAProcessOutsideOfContainersKeepsAGPU(t *testing.T) {
	l := start(t, lab.Options{GPU: "{provider: sim, sim: {gpus: [a100-80gb]}}", Users: []string{"alice", "bob"}})
	program := l.Command("bob", "sleep", "1000")
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill() // it may have ended
		_ = program.Wait()
	})
	use := func(pids ...string) {
		t.Helper()
		l.OK("root", l.Binary(), "gpu", "sim", "set", l.GPUs()[0].UUID, "--process", strings.Join(pids, ","))
	}
	stray := strconv.Itoa(program.Process.Pid)
	who := "process " + stray + " (sleep) of " + l.Login("bob")
	use(stray)
	if r := runOnGPU(l, "alice", "train"); r.Code == 0 {
		t.Errorf("alice is granted a card that somebody uses: %+v", r)
	}
	for _, words := range [][]string{{"gpu", "list"}, {"gpu", "why"}, {"doctor"}} {
		if r := l.DS01("alice", words...); !strings.Contains(r.Out, who) {
			t.Errorf("%v doesn't say who uses it: %+v", words, r)
		}
	}
	use("0")
	if r := runOnGPU(l, "alice", "train2"); r.Code != 0 {
		t.Fatalf("alice: %+v", r)
	}
	own := l.PIDOf("alice", "train2")
	use(own)
	if g := l.GPUs()[0]; len(g.Strangers) > 0 {
		t.Errorf("her own process %s is a stranger: %+v", own, g.Strangers)
	}
	use(own, stray)
	if out := l.OK("alice", l.Binary(), "gpu", "list"); !strings.Contains(out, "running; no claim: "+who) && !strings.Contains(out, "(train2); no claim: "+who) {
		t.Errorf("the list:\n%s", out)
	}
	if l.Shown("alice", "train2", "{{.State.Status}}") != "running" || program.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("something was ended")
	}
}

func runOnGPU(l *lab.Lab, who, name string) lab.Result {
	return l.Docker(who, "run", "-d", "--name", name, "--network", "none", "--gpus", "1", "busybox", "sleep", "1000")
}

// outOfUse has alice work on the card, root do something to it, and checks what
// everybody sees of that.
func outOfUse(t *testing.T, l *lab.Lab, screen func() string, why, mend string, words ...string) {
	t.Helper()
	if r := runOnGPU(l, "alice", "train"); r.Code != 0 {
		t.Fatalf("alice: %+v", r)
	}
	l.OK("root", append([]string{l.Binary()}, words...)...)
	l.Eventually("alice is told", 15*time.Second, func() bool {
		return strings.Contains(screen(), "train holds GPU 0, which isn't granted any more: "+why)
	})
	if out := l.OK("alice", l.Binary(), "container", "list", "--running"); !strings.Contains(out, why) {
		t.Errorf("her list says nothing of it:\n%s", out)
	}
	l.OK("alice", "docker", "stop", "-t", "0", "train")
	if r := l.Docker("alice", "start", "train"); r.Code == 0 || !strings.Contains(r.Err, "isn't granted any more: "+why) {
		t.Errorf("it starts on the card again, or isn't told why not: %+v", r)
	}
	l.OK("alice", "docker", "rm", "-f", "train")

	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	if r := runOnGPU(l, "bob", "b"); r.Code == 0 || !strings.Contains(r.Err, "out of service: 1") {
		t.Errorf("bob is granted it, or isn't told why not: %+v", r)
	}
	for _, command := range []string{"list", "why"} {
		if out := l.OK("bob", l.Binary(), "gpu", command); !strings.Contains(out, why) {
			t.Errorf("gpu %s says nothing of it:\n%s", command, out)
		}
	}
	if out := l.DS01("root", "doctor").Out; !strings.Contains(out, mend) {
		t.Errorf("doctor doesn't say what to do:\n%s", out)
	}
	l.OK("root", l.Binary(), "gpu", "undrain", "0")
}
