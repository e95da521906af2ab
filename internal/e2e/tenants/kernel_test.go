package tenants_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// small are limits that a test reaches in a moment. The order of the lines is
// part of the stories: refusals name them.
const small = `defaults:
  memory: 64m
  memory_swap: 64m
  shm_size: 32m
  pids_limit: 40
  max_cpus: 0.4
  ulimit_nofile: 1024
  max_containers_per_user: 6
  aggregate: {cpus: 0.6, memory: 96m, memory_high: null, tasks: 60}
  io_read_bps: 4m
  io_write_bps: 2m
`

// TestTheKernelHoldsTheLimits is what the kernel itself says and does about
// memory, processors and processes.
func TestTheKernelHoldsTheLimits(t *testing.T) {
	l := start(t, lab.Options{Limits: small})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"limits stand in the groups of container and person": limitsStandInTheGroups,
		"asking for more is refused with number and source":  askingForMoreIsRefused,
		"nothing and no limit become the limit":              nothingBecomesTheLimit,
		"who allocates past the limit is killed":             whoAllocatesTooMuchIsKilled,
		"a fork bomb is bounded and ends with its container": aForkBombIsBounded,
		"a person's containers share the person's memory":    containersShareMemory,
		"a person's containers share the person's tasks":     containersShareTasks,
		"a person's containers share the person's CPUs":      containersShareCPUs,
		"a container reads and writes at its rates":          aContainerReadsAndWritesAtItsRates,
		"who is ended for want of memory hears why":          whoIsEndedForWantOfMemoryHearsWhy,
	} {
		t.Run(name, func(t *testing.T) {
			defer l.ClearAll()
			story(t, l)
		})
	}
}

// stands checks the limits of a container and of its owner's group.
func stands(t *testing.T, l *lab.Lab, who, name string, want map[string]int64) {
	t.Helper()
	g, pid := lab.NewControlGroups(t), l.PIDOf(who, name)
	for _, what := range []string{"memory limit", "tasks limit", "cpu quota"} {
		if got := g.Number(pid, what, 0); got != want[what] {
			t.Errorf("%s: %s %d, want %d", name, what, got, want[what])
		}
	}
	for what, value := range map[string]int64{"memory limit": 96 * lab.MiB, "tasks limit": 60, "cpu quota": 60_000} {
		if got := g.Number(pid, what, 1); got != value {
			t.Errorf("the person's %s: %d, want %d", what, got, value)
		}
	}
}

func limitsStandInTheGroups(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "less", "--memory", "32m", "--cpus", "0.2", "--pids-limit", "20", "busybox", "sleep", "1000")
	stands(t, l, "alice", "less", map[string]int64{"memory limit": 32 * lab.MiB, "tasks limit": 20, "cpu quota": 20_000})
	if r := l.DS01("alice", "container", "deploy", "own", "--cpu-only", "--background"); r.Code != 0 {
		t.Fatalf("deploy: %s", r.Err)
	}
	stands(t, l, "alice", "own", map[string]int64{"memory limit": 64 * lab.MiB, "tasks limit": 40, "cpu quota": 40_000})
	if got := l.OK("alice", "docker", "exec", "less", "sh", "-c", "ulimit -n; df -k /dev/shm | tail -1"); !strings.HasPrefix(got, "1024\n") || !strings.Contains(got, " 32768 ") {
		t.Errorf("open files and shared memory: %s", got)
	}
}

// aContainerReadsAndWritesAtItsRates goes past the page cache, where both hold
// on v1 and v2, on the engine's disk and in a directory of the person's.
func aContainerReadsAndWritesAtItsRates(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "disk", "-v", l.Home("alice")+":/h", "busybox", "sleep", "1000")
	g, pid := lab.NewControlGroups(t), l.PIDOf("alice", "disk")
	for what, want := range map[string]int{"read rates": 4 * lab.MiB, "write rates": 2 * lab.MiB} {
		if got := g.Read(pid, what, 0); !strings.Contains(got, fmt.Sprint(want)) {
			t.Errorf("%s: %q, want %d", what, got, want)
		}
	}
	for what, words := range map[string][]string{
		"its own files": {"dd", "if=/dev/zero", "of=/f", "bs=1M", "count=2", "oflag=direct"},
		"a mount":       {"dd", "if=/dev/zero", "of=/h/f", "bs=1M", "count=2", "oflag=direct"},
	} {
		began := time.Now()
		l.OK("alice", append([]string{"docker", "exec", "disk"}, words...)...)
		if took := time.Since(began); took < 700*time.Millisecond {
			t.Errorf("%s: 2 MiB were written in %s at 2 MiB/s", what, took)
		}
	}
	began := time.Now()
	l.OK("alice", "docker", "exec", "disk", "dd", "if=/h/f", "of=/dev/null", "bs=1M", "iflag=direct")
	if took := time.Since(began); took < 350*time.Millisecond {
		t.Errorf("2 MiB were read in %s at 4 MiB/s", took)
	}
}

func askingForMoreIsRefused(t *testing.T, l *lab.Lab) {
	for name, c := range map[string]struct {
		words []string
		want  []string
	}{
		"memory":        {[]string{"--memory", "1g"}, []string{"1GiB", "64MiB", "(memory: ", "resource-limits.yaml:2"}},
		"swap":          {[]string{"--memory", "32m", "--memory-swap", "1g"}, []string{"1GiB", "64MiB", "(memory_swap: ", "resource-limits.yaml:3"}},
		"shared memory": {[]string{"--shm-size", "64m"}, []string{"64MiB", "32MiB", "(shm_size: ", "resource-limits.yaml:4"}},
		"processes":     {[]string{"--pids-limit", "41"}, []string{"41", "40", "(pids_limit: ", "resource-limits.yaml:5"}},
		"processors":    {[]string{"--cpus", "1.5"}, []string{"1.5", "0.4", "(max_cpus: ", "resource-limits.yaml:6"}},
		"open files":    {[]string{"--ulimit", "nofile=4096"}, []string{"4096", "1024", "(ulimit_nofile: ", "resource-limits.yaml:7"}},
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				r := l.Run("alice", append(append([]string{docker, "run", "-d"}, c.words...), "busybox", "sleep", "1000")...)
				if r.Code != 125 {
					t.Errorf("exit code %d, want docker's 125", r.Code)
				}
				lab.Contains(t, r.Err, c.want...)
			})
		})
	}
	if got := l.Containers(); len(got) != 0 {
		t.Errorf("%d containers came of refused requests", len(got))
	}
}

func nothingBecomesTheLimit(t *testing.T, l *lab.Lab) {
	limit := map[string]int64{"memory limit": 64 * lab.MiB, "tasks limit": 40, "cpu quota": 40_000}
	for name, config := range map[string]string{
		"left-out": `{}`,
		"zero":     `{"Memory":0,"MemorySwap":0,"NanoCpus":0,"PidsLimit":0,"ShmSize":0}`,
		"negative": `{"Memory":-1,"MemorySwap":-1,"NanoCpus":-1,"PidsLimit":-1,"ShmSize":-1}`,
	} {
		body := fmt.Sprintf(`{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":%s}`, config)
		if status, answer := l.Ask("alice", "POST", "/containers/create?name="+name, body); status != 201 {
			t.Errorf("%s: %d %s", name, status, answer)
			continue
		}
		l.OK("alice", "docker", "start", name)
		stands(t, l, "alice", name, limit)
	}
}

// whoAllocatesTooMuchIsKilled asks the kernel who was killed: the engine's
// OOMKilled stays false where the container ends before its news of it.
func whoAllocatesTooMuchIsKilled(t *testing.T, l *lab.Lab) {
	g := lab.NewControlGroups(t)
	for name, words := range map[string][]string{
		"program": {"tail", "/dev/zero"},
		"tmpfs":   {"dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=200"},
	} {
		l.OK("alice", "docker", "run", "-d", "--name", name, "--tmpfs", "/t", "busybox", "sleep", "1000")
		r := l.Docker("alice", append([]string{"exec", name}, words...)...)
		if r.Code != 137 {
			t.Errorf("%s: exit code %d, want 137: %s", name, r.Code, r.Err)
		}
		if killed := g.Field(l.PIDOf("alice", name), "memory events", "oom_kill", 0); killed != 1 {
			t.Errorf("%s: %d processes killed for lack of memory, want 1", name, killed)
		}
		l.OK("alice", "docker", "rm", "-f", name)
	}
	if r := l.Docker("alice", "run", "--rm", "--tmpfs", "/t", "busybox", "dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=40"); r.Code != 0 {
		t.Errorf("40 MiB of 64 are refused too: exit code %d: %s", r.Code, r.Err)
	}
}

func whoIsEndedForWantOfMemoryHearsWhy(t *testing.T, l *lab.Lab) {
	list := func() string { return l.OK("alice", l.Binary(), "container", "list") }
	l.OK("alice", "docker", "run", "-d", "--name", "own", "busybox", "sleep", "1000")
	r := l.DS01("alice", "container", "exec", "own", "--", "tail", "/dev/zero")
	if r.Code != 137 {
		t.Errorf("exit code %d, want 137", r.Code)
	}
	const why = "was ended, out of memory: the container had reached its own 64MiB"
	lab.Contains(t, r.Err, "tail in container own, which held ", why, "'ds01 container update own --memory …'")
	lab.Contains(t, list(), why, " ago). Use less")
	l.OK("alice", "docker", "run", "-d", "--name", "main", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=80M")
	l.Eventually("the list says of what main has ended", 20*time.Second, func() bool { return strings.Contains(list(), "exited (137, OOM)") })
	lab.Contains(t, l.Read("var/log/ds01/audit.jsonl"), `"action":"out of memory"`, "dd in container main")
	l.OK("alice", "docker", "rm", "main")
	l.OK("alice", "docker", "restart", "-t", "0", "own")
	lab.Lacks(t, list(), "out of memory")
}

func aForkBombIsBounded(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "bomb", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "exec", "-d", "bomb", "sh", "-c", "b() { b | b & sleep 1000; }; b")
	g, pid := lab.NewControlGroups(t), l.PIDOf("alice", "bomb")
	l.Eventually("the kernel has refused a process", 20*time.Second, func() bool { return g.Field(pid, "tasks events", "max", 0) > 0 })
	if got := g.Number(pid, "tasks in use", 0); got > 40 {
		t.Errorf("%d processes run, limit 40", got)
	}
	l.OK("bob", "docker", "run", "--rm", "busybox", "true")
	l.OK("alice", "docker", "rm", "-f", "bomb")
	l.Eventually("its processes are gone", 10*time.Second, func() bool { return l.OK("alice", "docker", "ps", "-aq") == "" })
}

// containersShareMemory holds 56 MiB in each of two containers, of 64 allowed
// in each and 96 in both. bob's is not alice's.
func containersShareMemory(t *testing.T, l *lab.Lab) {
	hold := []string{"busybox", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=56M"}
	run := func(who, name string) {
		l.OK(who, append([]string{"docker", "run", "-d", "--name", name, "--cpus", "0.2"}, hold...)...)
		pid, g := l.PIDOf(who, name), lab.NewControlGroups(t)
		if name == "one" {
			l.Eventually(who+"'s holds its memory", 20*time.Second, func() bool { return g.Number(pid, "memory in use", 0) > 50*lab.MiB })
		}
	}
	run("bob", "one")
	run("alice", "one")
	run("alice", "two")
	var states string
	l.Eventually("one of the two is killed", 30*time.Second, func() bool {
		states = l.OK("alice", "docker", "inspect", "-f", "{{.State.Status}}{{.State.ExitCode}}", "one", "two")
		return strings.Contains(states, "exited137")
	})
	// An emulated machine gives memory back so slowly that the kernel ends the other too.
	if emulated := l.Patience(1) > 1; !emulated && !strings.Contains(states, "running") {
		t.Errorf("not one went: %s", states)
	}
	l.Eventually("it is said whose limit that was", 30*time.Second, func() bool {
		return strings.Contains(l.OK("alice", l.Binary(), "container", "list"), "your containers together had reached your 96MiB")
	})
	if got := l.OK("bob", "docker", "inspect", "-f", "{{.State.Status}}", "one"); got != "running" {
		t.Errorf("bob's is %s", got)
	}
}

func containersShareTasks(t *testing.T, l *lab.Lab) {
	g := lab.NewControlGroups(t)
	run := func(name string) {
		l.OK("alice", "docker", "run", "-d", "--name", name, "busybox", "sh", "-c", "for i in $(seq 34); do sleep 1000 & done; wait")
	}
	run("one")
	pid := l.PIDOf("alice", "one")
	l.Eventually("the first has all of its processes", 30*time.Second, func() bool { return g.Number(pid, "tasks in use", 0) == 35 })
	run("two")
	l.Eventually("the kernel has refused a process", 20*time.Second, func() bool {
		return g.Field(pid, "tasks events", "max", 1) > 0 || l.OK("alice", "docker", "inspect", "-f", "{{.State.Status}}", "two") == "exited"
	})
	if got := g.Number(pid, "tasks in use", 1); got > 60 {
		t.Errorf("%d processes run, limit 60 for both", got)
	}
	if got := g.Number(pid, "tasks in use", 0); got < 35 {
		t.Errorf("the first container has %d processes, it could have 35", got)
	}
	l.OK("bob", "docker", "run", "--rm", "busybox", "true")
}

// containersShareCPUs goes before what else the machine does: who gets no more
// than the quota anyway is never held back.
func containersShareCPUs(t *testing.T, l *lab.Lab) {
	for _, name := range []string{"one", "two"} {
		l.OK("alice", "docker", "run", "-d", "--name", name, "busybox", "sh", "-c", "while :; do :; done")
	}
	g, pid := lab.NewControlGroups(t), l.PIDOf("alice", "one")
	g.GoFirst(l)
	l.Eventually("the kernel has held both back together", 20*time.Second, func() bool { return g.Field(pid, "cpu events", "nr_throttled", 1) > 0 })
}

func TestAContainerDoesNotSeeTheHostsGroups(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}})
	for line := range strings.Lines(l.OK("alice", "docker", "run", "--rm", "busybox", "cat", "/proc/self/cgroup")) {
		if !strings.HasSuffix(strings.TrimSpace(line), ":/") {
			t.Errorf("the container sees %q", line)
		}
	}
}
