package crash_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// killIn kills the daemon while it waits for the engine's answer to a request
// of a person that has a fate, as soon as their container web has the claim state
// given, and starts it again.
func killIn(t *testing.T, l *lab.Lab, fits func(*http.Request) bool, fate lab.Fate, state string, words ...string) {
	t.Helper()
	fate.Until = make(chan struct{})
	defer close(fate.Until)
	l.Proxy.Decide(lab.Once(fits, fate))
	client := l.Command("alice", append([]string{"docker"}, words...)...)
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	l.Eventually("the claim is "+state, 30*time.Second, func() bool {
		all := l.Containers()
		return len(all) == 1 && all[0].ClaimState == state && (words[0] != "create" || len(l.EngineContainers()) == 1)
	})
	l.EndDaemon(syscall.SIGKILL)
	l.Proxy.Decide(func(*http.Request) lab.Fate { return lab.Fate{} }) // the request may not have come that far
	if client.Wait() == nil {
		t.Errorf("docker %v went well without a daemon", words)
	}
	l.StartDaemon()
}

func TestAKillInMidStartPutsTheClaimBack(t *testing.T) {
	for name, fate := range map[string]lab.Fate{
		"before the engine has heard of it": {LoseRequest: true},
		"after the engine has done it":      {LoseReply: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
			l.OK("alice", "docker", "create", "--name", "web", "--gpus", "1", "-v", l.Home("alice")+":/home/me", "busybox", "sleep", "1000")
			killIn(t, l, lab.Starts, fate, "running", "start", "web")
			lab.Settled(t, l, 10*time.Second)
			l.OK("alice", "docker", "start", "web")
			lab.Settled(t, l, 10*time.Second)
			l.OK("alice", "docker", "rm", "-f", "web")
			lab.Clean(t, l)
		})
	}
}

func TestAKillInMidCreateLosesNoDevice(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	killIn(t, l, create, lab.Fate{LoseReply: true}, "pending", "create", "--name", "web", "--gpus", "1", "-v", l.Home("alice")+":/home/me", "busybox", "sleep", "1000")
	if r := l.Docker("bob", "create", "--gpus", "1", "busybox"); r.Code == 0 {
		t.Error("bob was given alice's device")
	}
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/home/me/hers")
	l.OK("alice", "docker", "rm", "-f", "web")
	lab.Clean(t, l)
}

func TestAContainerThatIsOnlyHalfMadeWhenTheDaemonIsKilledIsRemoved(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, GPU: oneCard, Limits: crashLimits})
	archive := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/archive")
	}
	asked, killed := make(chan struct{}), make(chan struct{})
	defer close(killed)
	l.Proxy.Decide(lab.Once(archive, lab.Fate{LoseRequest: true, Arrived: asked, Until: killed}))
	client := l.Command("alice", l.Binary(), "container", "create", "web", "--gpus", "1")
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked // the container is there, its passwd file isn't
	l.EndDaemon(syscall.SIGKILL)
	if client.Wait() == nil {
		t.Error("create went well without a daemon")
	}
	l.StartDaemon()
	l.Eventually("the half-made container is gone", pendingIsSettled, func() bool { return len(l.EngineContainers()) == 0 })
	lab.Settled(t, l, 10*time.Second)
	if r := l.DS01("alice", "container", "create", "web", "--gpus", "1"); r.Code != 0 {
		t.Errorf("the name and the device aren't free again: %s", r.Err)
	}
	l.OK("alice", "docker", "rm", "-f", "web")
	lab.Clean(t, l)
}
