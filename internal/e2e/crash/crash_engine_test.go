package crash_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

func TestTheDaemonStartsWithoutAnEngineAndRecovers(t *testing.T) {
	l := start(t, lab.Options{Limits: crashLimits, Admins: []string{"dean"}})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "-v", l.Home("alice")+":/home/me", "busybox", "sleep", "1000")
	l.EndDaemon(syscall.SIGKILL)
	if err := l.Engine.Kill(); err != nil {
		t.Fatal(err)
	}
	l.Spawn()
	l.Eventually("container list answers without an engine", 10*time.Second, func() bool {
		r := l.DS01("alice", "container", "list")
		return r.Code == 0 && strings.Contains(r.Out, "web")
	})
	if r := l.DS01("alice", "container", "list", "--json"); !strings.Contains(r.Out, `"running"`) || strings.Contains(r.Out, `"created"`) {
		t.Errorf("the list doesn't say that web was last seen running: %s", r.Out)
	}
	for _, words := range [][]string{
		{"run", "-d", "--gpus", "1", "busybox"}, {"ps"}, {"start", "web"}, {"rm", "-f", "web"}, {"logs", "web"}, {"exec", "web", "true"}, {"inspect", "web"}, {"stop", "web"},
	} {
		r := l.Docker("alice", words...)
		if r.Code == 0 || !strings.Contains(r.Err, "ds01: ") || !strings.Contains(r.Err, "engine doesn't answer") {
			t.Errorf("docker %v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
	status, answer := speak(t, l, "run/docker.sock", post("/containers/create", `{"Image":"busybox"}`))
	if status != 503 || !strings.Contains(answer, "Try again") {
		t.Errorf("status %d: %s", status, answer)
	}
	if r := l.DS01("alice", "container", "create", "two", "--gpus", "1"); r.Code != 7 || strings.Count(r.Err, "\n") != 2 {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	if r := l.DS01("dean", "doctor"); !strings.Contains(r.Out, "engine") || r.Code == 0 {
		t.Errorf("doctor, exit code %d: %s", r.Code, r.Out)
	}
	if err := l.Engine.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Eventually("docker run works again", 10*time.Second, func() bool {
		return l.Docker("bob", "run", "--rm", "--gpus", "1", "busybox", "true").Code == 0
	})
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "exec", "web", "ls", "/home/me")
	removeEverything(t, l, []string{"alice", "bob"})
}

// pastDS01 makes a container at the engine's own socket that opens the card.
func pastDS01(l *lab.Lab, name, slot string, extra ...string) string {
	minor := map[string]string{"0": "0", "1": "16", "2": "32", "3": "48"}[slot]
	words := append([]string{"run", "-d", "--name", name, "--device-cgroup-rule", "c 120:" + minor + " rw"}, extra...)
	return l.AtEngine(append(words, "busybox", "sleep", "1000")...)
}

func TestAContainerMadePastDS01IsQuarantinedAndItsDeviceIsTaken(t *testing.T) {
	twoCards := "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}"
	for name, reach := range map[string][]string{
		"by a device rule":            {"--device-cgroup-rule", "c 120:0 rw"},
		"by a rule for all of them":   {"--device-cgroup-rule", "c 120:* rw"},
		"by the node as a mount":      {"-v", "NODES/nvidia0:/dev/x"},
		"by a variable":               {"-e", "NVIDIA_VISIBLE_DEVICES=0"},
		"by a variable for all cards": {"-e", "NVIDIA_VISIBLE_DEVICES=all"},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, lab.Options{GPU: twoCards, Limits: crashLimits, Users: []string{"alice", "bob"}})
			words := []string{"run", "-d", "--name", "smuggled"}
			for _, w := range reach {
				words = append(words, strings.ReplaceAll(w, "NODES", l.Root+"/run/ds01/dev"))
			}
			id := l.AtEngine(append(words, "busybox", "sleep", "1000")...)
			l.Eventually("the device counts as taken", 30*time.Second, func() bool { return strings.HasSuffix(l.Holder("0"), "quarantined") })
			if out := l.OK("alice", "docker", "ps", "-aq"); out != "" {
				t.Errorf("alice sees %s", out)
			}
			if r := l.Docker("alice", "inspect", id); r.Code == 0 {
				t.Error("alice inspects it")
			}
			granted := 0
			for range 2 {
				if l.Docker("alice", "run", "-d", "--gpus", "1", "busybox", "sleep", "1000").Code == 0 {
					granted++
				}
			}
			if all := strings.Contains(name, "all"); granted != map[bool]int{true: 0, false: 1}[all] {
				t.Errorf("alice was granted %d devices", granted)
			}
			if wrong := disagreementsOf(l, "device"); len(wrong) > 0 {
				t.Error(wrong)
			}
			l.AtEngine("rm", "-f", "smuggled")
			l.Eventually("its device is free again", 30*time.Second, func() bool { return !strings.HasSuffix(l.Holder("0"), "quarantined") })
		})
	}
}

// disagreementsOf returns those that begin with a word.
func disagreementsOf(l *lab.Lab, word string) []string {
	var some []string
	for _, w := range lab.Disagreements(l, false) {
		if strings.HasPrefix(w, word) {
			some = append(some, w)
		}
	}
	return some
}

func TestAQuarantinedContainerIsAdoptedWithItsDevice(t *testing.T) {
	l := start(t, lab.Options{Limits: crashLimits, Admins: []string{"dean"}})
	pastDS01(l, "found", "2", "-v", l.Root+"/run/ds01/dev/nvidia2:/dev/nvidia2")
	l.Eventually("it is quarantined", 30*time.Second, func() bool { return strings.HasSuffix(l.Holder("2"), "quarantined") })
	if r := l.DS01("alice", "container", "adopt", "found", "--user", l.Login("alice")); r.Code != 5 {
		t.Errorf("alice adopts it herself: exit code %d: %s", r.Code, r.Err)
	}
	l.OK("alice", "docker", "create", "--name", "mine", "busybox")
	if r := l.DS01("dean", "container", "adopt", "found", "--user", l.Login("alice"), "--name", "mine"); r.Code != 6 || strings.Contains(r.Err, "constraint") {
		t.Errorf("adopted under a name that alice has already: exit code %d: %s", r.Code, r.Err)
	}
	if r := l.DS01("dean", "container", "adopt", "found", "--user", l.Login("alice")); r.Code != 0 {
		t.Fatalf("exit code %d: %s", r.Code, r.Err)
	}
	lab.Settled(t, l, 10*time.Second)
	if got := l.Holder("2"); got != l.Login("alice")+" running" {
		t.Errorf("device 2 is held by %q", got)
	}
	l.OK("alice", "docker", "exec", "found", "true")
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "rm", "-f", "found")
	l.OK("alice", "docker", "rm", "mine")
	lab.Clean(t, l)
}

func TestWithItsStoreLostTheDaemonGrantsNothingTwice(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, Limits: strings.Replace(crashLimits, "{", "{max_gpus_per_container: 2, ", 1), Admins: []string{"dean"}})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "2", "-v", l.Home("alice")+":/home/me", "busybox", "sleep", "1000")
	l.OK("bob", "docker", "run", "-d", "--name", "api", "--gpus", "1", "busybox", "sleep", "1000")
	l.EndDaemon(syscall.SIGTERM)
	for _, name := range []string{"ds01.db", "ds01.db-wal", "ds01.db-shm"} {
		os.Remove(filepath.Join(l.Root, "var/lib/ds01", name))
	}
	// It takes a while to find out what the engine runs. Who asks meanwhile waits.
	l.Proxy.Decide(lab.Once(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/containers/json") }, lab.Fate{Delay: 2 * time.Second}))
	l.Spawn()
	// From its first answer on, only the fourth device is to be had.
	var got []string
	l.Eventually("somebody is granted something", 15*time.Second, func() bool {
		r := l.Docker("carol", "run", "-d", "--gpus", "1", "busybox", "sleep", "1000")
		if r.Code == 0 {
			got = append(got, r.Out)
		}
		return r.Code == 0
	})
	for range 4 {
		if r := l.Docker("carol", "run", "-d", "--gpus", "1", "busybox", "sleep", "1000"); r.Code == 0 {
			got = append(got, r.Out)
		}
	}
	if len(got) != 1 {
		t.Errorf("carol was granted %d devices", len(got))
	}
	lab.Sound(t, l, 10*time.Second)
	for _, slot := range []string{"0", "1", "2"} {
		if h := l.Holder(slot); !strings.HasSuffix(h, "quarantined") {
			t.Errorf("device %s is held by %q", slot, h)
		}
	}
	if r := l.DS01("dean", "container", "list", "--all-users"); strings.Count(r.Out, "quarantined") < 2 {
		t.Errorf("dean sees: %s", r.Out)
	}
	if out := l.OK("alice", "docker", "ps", "-q"); out != "" {
		t.Errorf("alice sees %q", out)
	}
	for _, who := range []string{"alice", "bob"} {
		name := map[string]string{"alice": "web", "bob": "api"}[who] + "._." + strconv.Itoa(l.UID(who))
		if r := l.DS01("dean", "container", "adopt", name, "--user", l.Login(who)); r.Code != 0 {
			t.Errorf("adopt %s: %s", name, r.Err)
		}
	}
	lab.Settled(t, l, 10*time.Second)
	l.OK("alice", "docker", "exec", "web", "ls", "/home/me")
	removeEverything(t, l, []string{"alice", "bob", "carol"})
}

func TestAContainerStartedPastDS01OnALostDeviceIsStopped(t *testing.T) {
	l := start(t, lab.Options{GPU: oneCard, Limits: strings.Replace(crashLimits, "{", "{stop_timeout: 2m, ", 1)})
	id := l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.Eventually("its device is free", 10*time.Second, func() bool { return l.Holder("0") == "free" })
	l.AtEngine("start", id)
	l.Eventually("it has its device again", 30*time.Second, func() bool { return l.Holder("0") == l.Login("alice")+" running" })
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.Eventually("its device is free once more", 10*time.Second, func() bool { return l.Holder("0") == "free" })
	l.OK("bob", "docker", "run", "-d", "--name", "api", "--gpus", "1", "busybox", "sleep", "1000")
	for _, how := range []string{"while the daemon watches", "while the daemon is away"} {
		if strings.HasSuffix(how, "away") {
			l.EndDaemon(syscall.SIGKILL)
		}
		l.AtEngine("start", id)
		if strings.HasSuffix(how, "away") {
			l.StartDaemon()
		}
		// The container ignores SIGTERM: nobody waits for it two minutes.
		l.Eventually("it is stopped, "+how, 30*time.Second, func() bool {
			return len(lab.SharedDevices(byID(l.EngineContainers()))) == 0 && l.AtEngine("inspect", "-f", "{{.State.Running}}", id) == "false"
		})
		if got := l.Holder("0"); got != l.Login("bob")+" running" {
			t.Errorf("%s: the device is held by %q", how, got)
		}
		lab.Settled(t, l, 10*time.Second)
	}
	removeEverything(t, l, []string{"alice", "bob"})
}

func byID(all []lab.Container) map[string]lab.Container {
	m := map[string]lab.Container{}
	for _, c := range all {
		m[c.ID] = c
	}
	return m
}
