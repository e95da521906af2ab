//go:build systemd

// These tests run where systemd is the first process and keeps the control
// groups, as root: tools/vm-test.sh brings a machine for them.
package tenants_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// TestAnEngineUnderSystemd is the whole on a host as distributions ship it:
// control groups v2, made by systemd for the engine and for ds01.
func TestAnEngineUnderSystemd(t *testing.T) {
	l := start(t, lab.Options{Systemd: true, Slow: 6, Limits: small, Users: []string{"alice", "bob"}})
	if got := l.AtEngine("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}} {{.SecurityOptions}}"); !strings.HasPrefix(got, "systemd 2 ") || !strings.Contains(got, "userns") {
		t.Fatalf("the engine has %s", got)
	}
	for _, s := range []struct {
		name  string
		story func(*testing.T, *lab.Lab)
	}{
		{"a container lies in the slice of its owner", aContainerLiesInItsOwnersSlice},
		{"limits stand in the scope and the slice", limitsStandInTheGroups},
		{"a changed limit stands in the slice at the next start", aChangedLimitStandsInTheSlice},
		{"what is used is read from the scope and the slice", usageIsRead},
		{"a card opens for its owner only", func(t *testing.T, l *lab.Lab) { devicesAreApart(t, l, lab.Debian) }},
		{"a card stays open while systemd changes what is around it", aCardStaysOpen},
		{"who allocates too much is killed, and nobody else", whoAllocatesTooMuchIsKilledAlone},
		{"a fork bomb is bounded and ends with its container", aForkBombIsBounded},
		{"a person's containers share the person's memory", containersShareMemory},
		{"a person's containers share the person's tasks", containersShareTasks},
		{"a person's containers share the person's CPUs", containersShareCPUs},
		{"a container reads and writes at its rates", aContainerReadsAndWritesAtItsRates},
		{"who is ended for want of memory hears why", whoIsEndedForWantOfMemoryHearsWhy},
		{"limits hold for what runs", func(t *testing.T, l *lab.Lab) {
			limitsHoldForWhatRuns(t, l)
			l.Write("etc/ds01/resource-limits.yaml", small)
			l.Reload()
		}},
		{"a container and its claim outlive a killed daemon", aContainerOutlivesTheDaemon},
	} {
		t.Run(s.name, func(t *testing.T) {
			defer slicesAreEmpty(t, l)
			defer l.ClearAll()
			s.story(t, l)
		})
	}
}

// TestDevicesComeAtEachStartUnderSystemd: with control groups v2 too the kernel keeps a
// container to the card that it got with its last start, and to those that come and go
// while it runs.
func TestDevicesComeAtEachStartUnderSystemd(t *testing.T) {
	l := start(t, lab.Options{Systemd: true, AtStart: true, Slow: 6, GPU: twoCards, Limits: releasing, Users: []string{"alice", "bob"}})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	wantCards(t, l, "alice", 0)
	l.OK("alice", l.Binary(), "container", "gpu", "release", "web")
	wantCards(t, l, "alice")
	if holder := l.Holder("0"); holder != "free" {
		t.Errorf("what she released is %s", holder)
	}
	reload := func() {
		t.Helper()
		if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil { // it sets the devices of its scopes anew
			t.Fatalf("daemon-reload: %v, %s", err, out)
		}
	}
	reload()
	l.OK("bob", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	wantCards(t, l, "bob", 0)
	wantCards(t, l, "alice")
	l.OK("alice", l.Binary(), "container", "gpu", "add", "web")
	// The same to whatever sets the container's rules anew.
	still := func(cards ...int) {
		t.Helper()
		wantCards(t, l, "alice", cards...)
		reload()
		wantCards(t, l, "alice", cards...)
		l.OK("alice", "docker", "update", "--pids-limit", "100", "web")
		wantCards(t, l, "alice", cards...)
		wantCards(t, l, "bob", 0)
	}
	still(1)
	l.OK("alice", l.Binary(), "container", "gpu", "release", "web")
	still()
	l.OK("alice", l.Binary(), "container", "gpu", "add", "web")
	still(1)
	l.OK("alice", l.Binary(), "container", "gpu", "release", "web")
	l.OK("bob", "docker", "rm", "-f", "web")
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.OK("alice", l.Binary(), "container", "gpu", "add", "web")
	l.OK("alice", "docker", "start", "web")
	wantCards(t, l, "alice", 0)
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.Eventually("alice's card is free", l.Patience(10*time.Second), func() bool { return l.Holder("0") == "free" })
	l.OK("bob", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("alice", l.Binary(), "container", "start", "web")
	wantCards(t, l, "alice", 1)
	wantCards(t, l, "bob", 0)
	reload()
	wantCards(t, l, "alice", 1)
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.OK("alice", l.Binary(), "container", "gpu", "release", "web")
	l.OK("alice", "docker", "start", "web")
	wantCards(t, l, "alice")
	l.ClearAll()
}

// TestIdleGPUsComeBackUnderSystemd: one that does nothing is taken, and the container
// runs on.
func TestIdleGPUsComeBackUnderSystemd(t *testing.T) {
	l := start(t, lab.Options{
		Systemd: true, AtStart: true, Slow: 6, Users: []string{"alice"}, GPU: twoCards, Config: "lifecycle: {every: 2s}\n",
		Limits: strings.Replace(inSeconds, "idle_timeout: 8s", "idle_timeout: 20s", 1),
	})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000")
	l.Eventually("the idle GPU is taken", l.Patience(30*time.Second), func() bool { return l.Holder("0") == "free" })
	if state := l.Shown("alice", "web", "{{.State.Status}}"); state != "running" {
		t.Errorf("her container is %s", state)
	}
	wantCards(t, l, "alice")
	l.ClearAll()
}

// sliceOf is where systemd keeps a person's groups.
func sliceOf(l *lab.Lab, who string) string {
	return fmt.Sprintf("/ds01.slice/ds01-u%d.slice", l.UID(who))
}

func aContainerLiesInItsOwnersSlice(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		id := l.OK(who, "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
		table, err := os.ReadFile("/proc/" + l.PIDOf(who, "web") + "/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.TrimSpace(string(table)), "0::"+sliceOf(l, who)+"/docker-"+id+".scope"; got != want {
			t.Errorf("%s's container is in %s, want %s", who, got, want)
		}
	}
}

// aChangedLimitStandsInTheSlice sets also where the kernel slows people down,
// which would be in the way of the stories that wait for the limit itself.
func aChangedLimitStandsInTheSlice(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "before", "busybox", "sleep", "1000")
	g, pid := lab.NewControlGroups(t), l.PIDOf("alice", "before")
	if got := g.Read(pid, "memory high", 1); got != "max" {
		t.Errorf("memory.high is %s, want max", got)
	}
	write := func(limits string) {
		l.Write("etc/ds01/resource-limits.yaml", limits)
		l.Reload()
	}
	write(strings.NewReplacer("memory_high: null", "memory_high: 80m", "tasks: 60", "tasks: 70", "cpus: 0.6", "cpus: 0.7").Replace(small))
	defer write(small)
	l.OK("alice", "docker", "run", "-d", "--name", "after", "busybox", "sleep", "1000")
	for what, want := range map[string]int64{"memory high": 80 * lab.MiB, "memory limit": 96 * lab.MiB, "tasks limit": 70, "cpu quota": 70_000} {
		if got := g.Number(pid, what, 1); got != want {
			t.Errorf("the person's %s: %d, want %d", what, got, want)
		}
	}
	if got := g.Number(pid, "memory limit", 0); got != 64*lab.MiB {
		t.Errorf("the container's own memory limit: %d", got)
	}
}

func usageIsRead(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	var stats []apitype.Stats
	if r := l.DS01("alice", "container", "stats", "--json"); json.Unmarshal([]byte(r.Out), &stats) != nil || len(stats) != 1 {
		t.Fatalf("stats: %s %s", r.Out, r.Err)
	}
	if s := stats[0]; s.MemoryLimitBytes != 64*lab.MiB || s.MemoryBytes == 0 || s.Pids != 1 {
		t.Errorf("the container uses %+v", s)
	}
	var users []apitype.UserLimits
	if r := l.DS01("alice", "user", "limits", "--json"); json.Unmarshal([]byte(r.Out), &users) != nil || len(users) != 1 {
		t.Fatalf("limits: %s %s", r.Out, r.Err)
	}
	used := map[string]float64{}
	for _, u := range users[0].Usage {
		used[u.Key] = u.Used
	}
	if used["aggregate.tasks"] != 1 || used["aggregate.memory"] == 0 {
		t.Errorf("alice uses %v", used)
	}
}

// aCardStaysOpen lets systemd set the devices of the container's scope anew, as
// any package with a unit does, from what the engine has told it about them.
func aCardStaysOpen(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, "docker", "run", "-d", "--name", "job", "--gpus", "1", "busybox", "sleep", "1000")
	}
	node, _ := lab.CardNode(t, l, "alice", lab.Debian, "job")
	_, his := lab.CardNode(t, l, "bob", lab.Debian, "job")
	putNode(t, filepath.Join("/proc", l.PIDOf("alice", "job"), "root/his"), his)
	opens := func(when string) {
		t.Helper()
		for path, want := range map[string]string{"/dev/" + node: mayOpen, "/his": mayNotOpen} {
			if r := l.Run("alice", "docker", "exec", "job", "sh", "-c", "exec 3<>"+path); !strings.Contains(r.Err+r.Out, want) {
				t.Errorf("%s, %s: %s, want %s", when, path, r.Err+r.Out, want)
			}
		}
	}
	opens("at first")
	l.Write("etc/ds01/resource-limits.yaml", strings.Replace(small, "tasks: 60", "tasks: 70", 1))
	l.Reload()
	l.OK("alice", "docker", "run", "--rm", "busybox", "true")
	l.Write("etc/ds01/resource-limits.yaml", small)
	l.Reload()
	opens("after a change of the person's limits")
	if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	opens("after systemd has read its units again")
}

func whoAllocatesTooMuchIsKilledAlone(t *testing.T, l *lab.Lab) {
	hers := l.OK("alice", "docker", "run", "-d", "--name", "quiet", "busybox", "sleep", "1000")
	his := l.OK("bob", "docker", "run", "-d", "--name", "quiet", "busybox", "sleep", "1000")
	before := []lab.Witness{lab.Witness{ID: hers}.Look(t, l), lab.Witness{ID: his}.Look(t, l)}
	whoAllocatesTooMuchIsKilled(t, l)
	for _, w := range before {
		if now := w.Look(t, l); now != w {
			t.Errorf("a quiet container was %+v and is %+v", w, now)
		}
	}
	if got := lab.NewControlGroups(t).Field(fmt.Sprint(before[0].PID), "memory events", "oom_kill", 1); got == 0 {
		t.Error("the kernel has killed nothing in alice's slice")
	}
}

func aContainerOutlivesTheDaemon(t *testing.T, l *lab.Lab) {
	id := l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	w := lab.Witness{ID: id}.Look(t, l)
	lab.Settled(t, l, 10*time.Second)
	before := holdings(l)
	if alice := l.Login("alice"); len(before) != 1 || !strings.HasPrefix(before[0], alice+" "+id+" ") || strings.Count(before[0], alice) != 2 {
		t.Fatalf("ds01 knows %q, want alice's container with a card that she holds", before)
	}
	l.EndDaemon(syscall.SIGKILL)
	if now := w.Look(t, l); now != w {
		t.Fatalf("without the daemon the container was %+v and is %+v", w, now)
	}
	l.StartDaemon()
	lab.Settled(t, l, 20*time.Second)
	if now := w.Look(t, l); now != w {
		t.Errorf("the container was %+v and is %+v", w, now)
	}
	if after := holdings(l); !slices.Equal(after, before) {
		t.Errorf("ds01 knew %q and knows %q", before, after)
	}
	if got := l.OK("alice", "docker", "exec", "web", "echo", "alive"); got != "alive" {
		t.Errorf("the container said %q", got)
	}
}

// holdings says who has which container, with which claim and devices.
func holdings(l *lab.Lab) []string {
	var all []string
	for _, c := range l.Containers() {
		line := c.User + " " + c.ID + " " + c.ClaimState
		for _, g := range c.GPUs {
			line += " " + g.Slot + " " + l.Holder(g.Slot)
		}
		all = append(all, line)
	}
	return all
}

// slicesAreEmpty checks that no container left anything in people's slices.
// The slices themselves stay until the host is started again.
func slicesAreEmpty(t *testing.T, l *lab.Lab) {
	t.Helper()
	lab.Clean(t, l)
	filepath.WalkDir("/sys/fs/cgroup/ds01.slice", func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if !strings.HasSuffix(path, ".slice") {
			t.Errorf("left: %s", path)
		}
		if procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs")); err != nil || len(procs) > 0 {
			t.Errorf("%s has the processes %q, %v", path, procs, err)
		}
		return nil
	})
}

// TestWhereContainersComeFromUnderSystemd has systemd's own services and timers make
// containers, the host's as a person.
func TestWhereContainersComeFromUnderSystemd(t *testing.T) {
	l := start(t, lab.Options{Systemd: true, Slow: 6, Users: []string{"alice"}})
	gateway := "--setenv=DOCKER_HOST=unix://" + filepath.Join(l.Root, "run/docker.sock")
	for name, how := range map[string]string{"service": "--wait", "timer": "--on-active=1s"} {
		cmd := exec.Command("systemd-run", "--quiet", how, "--uid", l.Login("alice"), gateway, lab.Debian, "create", "--name", name, "busybox")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	var all []apitype.Container
	l.Eventually("both are there", l.Patience(20*time.Second), func() bool {
		all = nil
		if err := json.Unmarshal([]byte(l.OK("alice", l.Binary(), "container", "list", "--json")), &all); err != nil {
			t.Fatal(err)
		}
		return len(all) == 2 && all[0].ID != "" && all[1].ID != ""
	})
	for _, c := range all {
		if c.Origin != c.Name {
			t.Errorf("what a %s made comes from %q", c.Name, c.Origin)
		}
	}
	l.ClearAll()
}
