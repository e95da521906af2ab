package crash_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// shimOf returns the process between the engine and a container.
func shimOf(t *testing.T, l *lab.Lab, who, name string) int {
	t.Helper()
	data, err := os.ReadFile("/proc/" + l.PIDOf(who, name) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\nPPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	shim, err := strconv.Atoi(line)
	if err != nil || shim < 2 {
		t.Fatalf("parent %q: %v", line, err)
	}
	return shim
}

// An engine that is kept waiting by what stands between it and a container says
// nothing about that one any more. That keeps nobody else from a GPU, whoever
// starts or waits meanwhile.
func TestAContainerThatTheEngineSaysNothingAboutKeepsNobodyWaiting(t *testing.T) {
	l := start(t, lab.Options{Limits: crashLimits, Admins: []string{"dean"}, GPU: "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}"})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "run", "-d", "--name", "other", "busybox", "sleep", "1000")
	shim := shimOf(t, l, "alice", "web")
	if err := syscall.Kill(shim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() {
		if err := syscall.Kill(shim, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	defer func() { goOn() }()
	told := func(who, what string) bool { return strings.Contains(l.DS01(who, "doctor").Out, what) }
	_, end := lab.Background(t, l, "alice", "docker", "kill", "-s", "USR1", "web") // the engine locks web, and waits
	defer end()
	l.Eventually("the engine waits", 30*time.Second, func() bool { return silent(l, l.EngineName("alice", "web"), l.EngineName("alice", "other")) })

	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	l.OK("bob", "docker", "run", "--rm", "--gpus", "1", "busybox", "true")
	if r := l.Docker("bob", "run", "--rm", "--gpus", "2", "busybox", "true"); r.Code == 0 {
		t.Error("alice's GPU was given away")
	}
	l.Eventually("who can mend it is told", 10*time.Second, func() bool {
		return told("dean", "says nothing about "+l.Login("alice")+"'s container web")
	})
	if !told("alice", "says nothing about your container web") || told("bob", "says nothing") {
		t.Errorf("alice is told:\n%s\nbob is told:\n%s", l.DS01("alice", "doctor").Out, l.DS01("bob", "doctor").Out)
	}
	_, stopping := lab.Background(t, l, "alice", "docker", "stop", "-t", "1", "web") // ds01 waits with her
	defer stopping()
	l.Reload()
	l.OK("bob", "docker", "run", "-d", "--name", "train", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("bob", "docker", "rm", "-f", "train")

	goOn()
	goOn = func() {}
	l.Eventually("the engine's word on it is had again", time.Minute, func() bool { return !told("dean", "says nothing") })
	lab.Settled(t, l, 10*time.Second)
	removeEverything(t, l, []string{"alice"})
}

// silent reports whether the engine says nothing about a container, though it does
// about another one that it is asked about a second later.
func silent(l *lab.Lab, name, other string) bool {
	ask := func(name string) error { return l.AskEngine("GET", "/containers/"+name+"/json", nil) }
	word := make(chan error, 1)
	go func() { word <- ask(name) }()
	time.Sleep(time.Second)
	if ask(other) != nil {
		return false
	}
	select {
	case <-word:
		return false
	default:
		return true
	}
}
