package tenants_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// profiles returns what there is to be granted, by slot.
func profiles(l *lab.Lab) string {
	var all []string
	for _, g := range l.GPUs() {
		all = append(all, g.Slot+":"+g.Profile)
	}
	return strings.Join(all, " ")
}

// One card that nobody has cut serves two people with instances that are kept
// apart in the kernel, and when both are done a third with all of it.
func TestACardIsCutForTwoPeopleAndWholeForAThird(t *testing.T) {
	l := start(t, lab.Options{
		GPU:   "{provider: sim, sim: {gpus: [h100-80gb]}, mig: {mode: dynamic, hysteresis: 1s}}",
		Users: []string{"alice", "bob", "carol"},
	})
	if got := profiles(l); got != "0:full" {
		t.Fatalf("at first there is %q", got)
	}
	run := func(who, docker, want string) lab.Result {
		return l.Run(who, docker, "run", "-d", "--name", "x", "--network", "none", "--gpus", "device="+want, "busybox", "sleep", "1000")
	}
	both := make(chan lab.Result, 1)
	go func() { both <- run("alice", "docker", "3g.40gb") }()
	bobs := run("bob", "docker", "1g.10gb")
	if alices := <-both; alices.Code != 0 || bobs.Code != 0 {
		t.Fatalf("alice: %+v, bob: %+v", alices, bobs)
	}
	if got := profiles(l); !strings.Contains(got, "3g.40gb") || !strings.Contains(got, "1g.10gb") || heldBy(l, "alice") == "" || heldBy(l, "bob") == "" {
		t.Errorf("there is %q, alice holds %q, bob %q", got, heldBy(l, "alice"), heldBy(l, "bob"))
	}
	hers, his := nodesOf(t, l, "alice", "docker", "x"), nodesOf(t, l, "bob", "docker", "x")
	if len(hers) != 1 || len(his) != 1 {
		t.Fatalf("alice has the nodes %v and bob %v, want one each", hers, his)
	}
	mayNot(t, l, "docker", "alice", "x", his[0])
	mayNot(t, l, "docker", "bob", "x", hers[0])
	if r := run("carol", "docker", "full"); r.Code == 0 || !strings.Contains(r.Err, "no room now for full") {
		t.Errorf("carol gets a whole card that others have parts of: %+v", r)
	}

	l.OK("bob", "docker", "rm", "-f", "x")
	l.Eventually("bob's instance is folded", 10*time.Second, func() bool { return !strings.Contains(profiles(l), "1g.10gb") })
	if heldBy(l, "alice") == "" {
		t.Error("alice has lost hers")
	}
	l.OK("alice", "docker", "rm", "-f", "x")
	l.Eventually("nothing is cut", 10*time.Second, func() bool { return profiles(l) == "" })
	if r := run("carol", "docker", "full"); r.Code != 0 || profiles(l) != "0:full" || heldBy(l, "carol") != "0" {
		t.Errorf("carol: %+v, there is %q", r, profiles(l))
	}
	log := l.OK("root", l.Binary(), "audit", "show", "--json")
	for _, cut := range []string{"gpu cut", "3g.40gb for x of ", "alice: no other place leaves more open", "it has been free for long enough"} {
		if !strings.Contains(log, cut) {
			t.Errorf("the audit log doesn't have %s", cut)
		}
	}
}

// The daemon is killed while it cuts a card, at each call of the driver: when
// it is back it finishes that, and the next who asks gets it.
func TestADaemonThatIsKilledWhileItCutsACardFinishesThat(t *testing.T) {
	l := start(t, lab.Options{
		GPU: "{provider: sim, sim: {gpus: [h100-80gb], takes: 2s}, mig: {mode: dynamic, hysteresis: 1h}}", Users: []string{"alice", "bob"},
	})
	ask := func() lab.Result {
		return l.Docker("alice", "run", "-d", "--name", "x", "--network", "none", "--gpus", "device=3g.40gb", "busybox", "sleep", "1000")
	}
	asked := make(chan lab.Result, 1)
	go func() { asked <- ask() }()
	l.Eventually("MIG is on and nothing is made yet", 10*time.Second, func() bool { return profiles(l) == "" })
	l.EndDaemon(syscall.SIGKILL)
	if r := <-asked; r.Code == 0 {
		t.Fatalf("it was made before the daemon was killed: %+v", r)
	}
	l.StartDaemon()
	l.Eventually("what was begun is done", 15*time.Second, func() bool { return profiles(l) == "0.0:3g.40gb" })
	if got := heldBy(l, "alice"); got != "" {
		t.Errorf("alice holds %q, and was told that she got nothing", got)
	}
	if r := ask(); r.Code != 0 || heldBy(l, "alice") != "0.0" {
		t.Errorf("alice: %+v, holds %q", r, heldBy(l, "alice"))
	}
}

// A container whose instance was folded while it was stopped starts with
// another one, which is made for it, though others hold its old place.
func TestAStartHasACardCutAgain(t *testing.T) {
	l := start(t, lab.Options{
		GPU: "{provider: sim, sim: {gpus: [h100-80gb]}, mig: {mode: dynamic, hysteresis: 0s}}", AtStart: true, Users: []string{"alice", "bob"},
		Limits: "defaults: {gpu_hold_after_stop: 0s}\n",
	})
	run := func(who, want string) {
		t.Helper()
		l.OK(who, "docker", "run", "-d", "--name", "x", "--network", "none", "--gpus", "device="+want, "busybox", "sleep", "1000")
	}
	run("alice", "3g.40gb")
	was := nodesOf(t, l, "alice", "docker", "x")
	l.OK("alice", "docker", "stop", "-t", "0", "x")
	l.Eventually("hers is folded", 10*time.Second, func() bool { return profiles(l) == "" })
	run("bob", "3g.40gb")
	his := nodesOf(t, l, "bob", "docker", "x")
	l.OK("alice", "docker", "start", "x")
	now := nodesOf(t, l, "alice", "docker", "x")
	if len(now) != 1 || len(his) != 1 || now[0] == his[0] || was[0] != his[0] {
		t.Fatalf("alice had the node %v and has %v, bob %v", was, now, his)
	}
	mayNot(t, l, "docker", "alice", "x", his[0])
	mayNot(t, l, "docker", "bob", "x", now[0])
}
