package tenants_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// lively are limits of one person, in MiB and the rest in proportion; of processors
// whole percents, which is what systemd has.
func lively(memory, aggregate int) string {
	return fmt.Sprintf(`defaults:
  memory: %dm
  memory_swap: %[1]dm
  shm_size: 100m
  pids_limit: %[1]d
  max_cpus: 0.%[3]d
  io_write_bps: %[1]dm
  aggregate: {cpus: 1, memory: %[2]dm, memory_high: null, tasks: %[2]d}
`, memory, aggregate, 30+memory/10)
}

// TestLimitsHoldForWhatRuns is what becomes of containers that run when the
// limits change: more holds at once, and of less memory only as much as is free.
func TestLimitsHoldForWhatRuns(t *testing.T) {
	l := start(t, lab.Options{Limits: lively(128, 300), Users: []string{"alice"}})
	limitsHoldForWhatRuns(t, l)
}

func limitsHoldForWhatRuns(t *testing.T, l *lab.Lab) {
	change := func(limits string) {
		t.Helper()
		l.Write("etc/ds01/resource-limits.yaml", limits)
		l.Reload()
	}
	change(lively(128, 300))
	l.OK("alice", "docker", "run", "-d", "--name", "all", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "run", "-d", "--name", "some", "--memory", "32m", "--pids-limit", "9", "busybox", "sh", "-c", "while :; do :; done")
	g := lab.NewControlGroups(t)
	g.GoFirst(l)
	all, some := l.PIDOf("alice", "all"), l.PIDOf("alice", "some")
	has := func(pid string) string {
		return fmt.Sprint(g.Number(pid, "memory limit", 0)/lab.MiB, g.Number(pid, "tasks limit", 0), g.Number(pid, "cpu quota", 0))
	}
	eventually := func(what, pid, want string) {
		t.Helper()
		got := ""
		defer func() {
			if got != want {
				t.Logf("it has %s", got)
			}
		}()
		l.Eventually(what+": "+want, 20*time.Second, func() bool { got = has(pid); return got == want })
	}
	total := func() int64 { return g.Number(all, "memory limit", 1) / lab.MiB }

	change(lively(256, 400))
	eventually("more at once", all, "256 256 55000")
	eventually("of what it left open", some, "32 9 55000")
	if got, wrote := total(), g.Read(all, "write rates", 0); got != 400 || !strings.Contains(wrote, strconv.Itoa(256*lab.MiB)) {
		t.Errorf("the total is %d, the rate %s", got, wrote)
	}
	if got := l.AtEngine("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}", l.EngineName("alice", "all")); got != "268435456 256 550000000" {
		t.Errorf("the engine has %s", got)
	}

	l.OK("alice", "docker", "exec", "all", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=90")
	change(lively(64, 80))
	l.Eventually("less of what kills nobody, at once", 20*time.Second, func() bool {
		return g.Number(all, "tasks limit", 0) == 64 && g.Number(all, "cpu quota", 0) == 36000
	})
	l.Eventually("the rest of the memory is taken", 20*time.Second, func() bool { return total() < 140 && g.Number(all, "memory limit", 0) < 140*lab.MiB })
	if got := g.Number(all, "memory limit", 0) / lab.MiB; got < 100 {
		t.Errorf("90 MiB are in use, and %d may be", got)
	}
	eventually("the other one", some, "32 9 36000")
	lab.Contains(t, l.OK("alice", l.Binary(), "container", "list"), "all is to have 64MiB of memory, and uses more: ", "Nothing is ended")
	lab.Contains(t, l.OK("alice", l.Binary(), "user", "limits"), "(more is in use: ")
	if r := l.Docker("alice", "run", "--rm", "busybox", "true"); r.Code == 0 || !strings.Contains(r.Err, "holds more memory than its new limit of 80MiB") {
		t.Errorf("a further container: %d %s", r.Code, r.Err)
	}

	l.OK("alice", "docker", "exec", "all", "rm", "/dev/shm/x")
	eventually("what was deferred", all, "64 64 36000")
	l.Eventually("the total too", 20*time.Second, func() bool { return total() == 80 })
	if now := l.PIDOf("alice", "all"); now != all {
		t.Errorf("it was started again: process %s, then %s", all, now)
	}
	if got := g.Field(all, "memory events", "oom_kill", 0) + g.Field(some, "memory events", "oom_kill", 0); got != 0 {
		t.Errorf("%d processes killed", got)
	}
	l.Eventually("it is said that it is done", 20*time.Second, func() bool { // the kernel has it before
		return !strings.Contains(l.OK("alice", l.Binary(), "container", "list"), "uses more") &&
			strings.Contains(l.Read("var/log/ds01/audit.jsonl"), "the memory of container all is 64MiB now")
	})
	lab.Contains(t, l.Read("var/log/ds01/audit.jsonl"), `"action":"limit"`)

	override := func(d time.Duration) {
		t.Helper()
		until := time.Now().Add(d).UTC().Format(time.RFC3339)
		change(lively(64, 80) + fmt.Sprintf("user_overrides: {%s: {pids_limit: 99, expires: %q}}\n", l.Login("alice"), until))
	}
	override(time.Hour)
	eventually("an override holds", all, "64 99 36000")
	override(l.Patience(4 * time.Second))
	eventually("and expires", all, "64 64 36000")
	change(strings.Replace(lively(64, 80), "pids_limit: 64", "pids_limit: null", 1))
	l.Eventually("it is seen that a busy container is held back", time.Minute, func() bool {
		return strings.Contains(l.OK("alice", l.Binary(), "container", "stats"), "% (held back ")
	})
	l.Eventually("a limit is lifted", 20*time.Second, func() bool { return g.Read(all, "tasks limit", 0) == "max" })
}
