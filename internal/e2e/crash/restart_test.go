package crash_test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// startedAgain waits until ds01 has started a container of alice's, and it runs.
func startedAgain(l *lab.Lab, name string) {
	l.Eventually(name+" runs again", 10*time.Second, func() bool {
		count, running, _ := strings.Cut(l.Shown("alice", name, "{{.RestartCount}} {{.State.Running}} {{.State.Restarting}}"), " ")
		got, err := strconv.Atoi(count)
		return err == nil && got > 0 && running == "true false"
	})
}

// restarting waits until a container has ended and waits to be started.
func restarting(l *lab.Lab, who, name string) {
	l.Eventually(name+" waits to be started", 10*time.Second, func() bool {
		return l.Shown(who, name, "{{.State.Status}}") == "restarting"
	})
}

// killMain ends the main process of a container as the host's root.
func killMain(t *testing.T, l *lab.Lab, who, name string) {
	t.Helper()
	pid, err := strconv.Atoi(l.PIDOf(who, name))
	if err != nil || pid < 2 {
		t.Fatalf("pid %d: %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestRestartPolicies is what people see of them with stock clients.
func TestRestartPolicies(t *testing.T) {
	l := start(t, lab.Options{Limits: crashLimits})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"what is killed comes back with all it had": whatIsKilledComesBack,
		"what is stopped stays so":                  whatIsStoppedStaysSo,
		"over restarts of the engine":               overEngineRestarts,
		"over a kill of the daemon while it waits":  overAKillOfTheDaemon,
		"removed and started again contradict":      removedAndStartedAgain,
	} {
		t.Run(name, func(t *testing.T) {
			defer l.ClearAll()
			story(t, l)
		})
	}
}

func whatIsKilledComesBack(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		l.OK("alice", docker, "run", "-d", "--name", "train", "--restart", "on-failure:5", "--gpus", "1", "-v", l.Home("alice")+":/home/me", "busybox",
			"sh", "-c", "date >> /home/me/starts; exec sleep 1000")
		defer l.OK("alice", docker, "rm", "-f", "train")
		begun := func(times string) {
			l.Eventually("it has begun so often: "+times, 30*time.Second, func() bool {
				return l.Run("alice", docker, "exec", "train", "sh", "-c", "wc -l </home/me/starts").Out == times
			})
		}
		begun("1")
		node, _ := lab.CardNode(t, l, "alice", docker, "train")
		killMain(t, l, "alice", "train")
		startedAgain(l, "train")
		begun("2")
		if again, _ := lab.CardNode(t, l, "alice", docker, "train"); again != node {
			t.Errorf("it had %s, and has %s", node, again)
		}
		const wish = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}"
		if got := l.OK("alice", docker, "inspect", "-f", wish, "train"); got != "on-failure:5" {
			t.Errorf("inspect shows %s", got)
		}
		if got := l.AtEngine("inspect", "-f", wish, l.OK("alice", docker, "ps", "-q", "--filter", "name=train")); got != "no:0" {
			t.Errorf("the engine has %s", got)
		}
		lab.Settled(t, l, 10*time.Second)
		l.OK("alice", "rm", l.Home("alice")+"/starts")
	})
}

func whatIsStoppedStaysSo(t *testing.T, l *lab.Lab) {
	for name, words := range map[string][]string{
		"stop": {"stop", "-t", "0", "web"}, "kill": {"kill", "web"}, "kill -s": {"kill", "-s", "KILL", "web"},
	} {
		l.OK("alice", "docker", "run", "-d", "--name", "web", "--restart", "unless-stopped", "busybox", "sleep", "1000")
		l.OK("alice", append([]string{"docker"}, words...)...)
		l.OK("alice", "docker", "wait", "web")
		time.Sleep(500 * time.Millisecond) // five times as long as the first pause
		if got := l.Shown("alice", "web", "{{.State.Status}} {{.RestartCount}}"); got != "exited 0" {
			t.Errorf("docker %s: it is %s", name, got)
		}
		l.OK("alice", "docker", "rm", "-f", "web")
	}
	// While it waits.
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--restart", "always", "busybox", "false")
	l.Eventually("it was started some times", 20*time.Second, func() bool { return l.Shown("alice", "web", "{{.RestartCount}}") >= "3" })
	restarting(l, "alice", "web")
	l.OK("alice", "docker", "stop", "web")
	count := l.Shown("alice", "web", "{{.RestartCount}}")
	time.Sleep(2 * time.Second)
	if got := l.Shown("alice", "web", "{{.State.Status}} {{.RestartCount}}"); got != "exited "+count {
		t.Errorf("stopped while it waited, and it is %s, after %s starts", got, count)
	}
	// A signal that doesn't ask it to end, and then it fails.
	l.OK("alice", "docker", "rm", "web")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--restart", "on-failure", "busybox", "sh", "-c", "trap : HUP; while :; do sleep 0.1; done")
	l.OK("alice", "docker", "kill", "-s", "HUP", "web")
	killMain(t, l, "alice", "web")
	startedAgain(l, "web")
}

func overEngineRestarts(t *testing.T, l *lab.Lab) {
	for name, policy := range map[string]string{"dies": "unless-stopped", "stays": "unless-stopped", "always": "always"} {
		l.OK("alice", "docker", "run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
	}
	l.OK("alice", "docker", "stop", "-t", "0", "stays", "always")
	pid, err := strconv.Atoi(l.PIDOf("alice", "dies"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := l.Engine.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Eventually("the engine is reached", 10*time.Second, func() bool { return l.Docker("alice", "ps").Code == 0 })
	startedAgain(l, "dies")
	startedAgain(l, "always")
	if got := l.Shown("alice", "stays", "{{.State.Status}}"); got != "exited" {
		t.Errorf("what was stopped is %s", got)
	}
	// ds01 coming up means the same.
	l.OK("alice", "docker", "stop", "-t", "0", "always")
	l.EndDaemon(syscall.SIGKILL)
	killPID := pidAtEngine(t, l, "dies")
	if err := syscall.Kill(killPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	startedAgain(l, "dies")
	startedAgain(l, "always")
	if got := l.Shown("alice", "stays", "{{.State.Status}}"); got != "exited" {
		t.Errorf("what was stopped is %s", got)
	}
	lab.Settled(t, l, 10*time.Second)
}

func pidAtEngine(t *testing.T, l *lab.Lab, name string) int {
	t.Helper()
	pid, err := strconv.Atoi(l.AtEngine("inspect", "-f", "{{.State.Pid}}", name+"._."+strconv.Itoa(l.UID("alice"))))
	if err != nil || pid < 2 {
		t.Fatalf("pid %d: %v", pid, err)
	}
	return pid
}

func overAKillOfTheDaemon(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--restart", "on-failure:6", "busybox", "sh", "-c", "exit 7")
	l.Eventually("it was started some times", 20*time.Second, func() bool { return l.Shown("alice", "web", "{{.RestartCount}}") >= "3" })
	restarting(l, "alice", "web")
	before := l.Shown("alice", "web", "{{.RestartCount}}")
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	l.Eventually("it is started as often as its policy says", 20*time.Second, func() bool {
		return l.Shown("alice", "web", "{{.RestartCount}} {{.State.Status}}") == "6 exited"
	})
	time.Sleep(time.Second)
	if got := l.Shown("alice", "web", "{{.RestartCount}} {{.State.Status}}"); got != "6 exited" {
		t.Errorf("%s, and it was %s before the kill", got, before)
	}
	lab.Settled(t, l, 10*time.Second)
}

func removedAndStartedAgain(t *testing.T, l *lab.Lab) {
	status, answer := l.Ask("alice", "POST", "/containers/create?name=web", `{"Image":"busybox","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}`)
	if status != 400 {
		t.Errorf("%d %s", status, answer)
	}
	l.OK("alice", "docker", "run", "-d", "--rm", "--name", "web", "busybox", "sleep", "1000")
	if r := l.Docker("alice", "update", "--restart", "always", "web"); r.Code == 0 || !strings.Contains(r.Err, "--rm") {
		t.Errorf("updated: %s", r.Err)
	}
}

// TestALostGPUIsWaitedFor lets a container's GPU go to somebody else while it
// waits to be started.
func TestALostGPUIsWaitedFor(t *testing.T) {
	l := start(t, lab.Options{GPU: oneCard, Limits: strings.Replace(crashLimits, "gpu_hold_after_stop: 2s", "gpu_hold_after_stop: 1s", 1)})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "--restart", "always", "busybox", "sh", "-c", "test -e /once && exec sleep 1000; sleep 0.1; exit 1")
	l.Eventually("bob gets the card", 60*time.Second, func() bool {
		return l.Docker("bob", "run", "-d", "--name", "api", "--gpus", "1", "busybox", "sleep", "1000").Code == 0
	})
	l.Eventually("the list says what alice's waits for", 30*time.Second, func() bool {
		out := l.DS01("alice", "container", "list").Out
		return strings.Contains(out, "web is to be started again, and can't yet: GPU not granted") && strings.Contains(out, "restarting (1)")
	})
	if got := l.Shown("alice", "web", "{{.State.Status}}"); got != "restarting" {
		t.Errorf("alice's is %s", got)
	}
	if got := l.Holder("0"); got != l.Login("bob")+" running" {
		t.Errorf("the card is held by %s", got)
	}
	lab.Contains(t, l.Log(), "container not started again, it is tried later")
	l.OK("bob", "docker", "rm", "-f", "api")
	l.Eventually("alice's is tried again and gets its card", 70*time.Second, func() bool {
		return l.Shown("alice", "web", "{{.RestartCount}}") > "0" && l.Holder("0") != "free"
	})
	l.OK("alice", "docker", "rm", "-f", "web")
	lab.Clean(t, l)
}
