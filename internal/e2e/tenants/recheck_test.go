package tenants_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestWhatIsStoredIsCheckedAtEachStart changes limits, and the engine's own
// files, between two starts of a container.
func TestWhatIsStoredIsCheckedAtEachStart(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, Limits: small, Admins: []string{"dean"}})
			id := l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "-v", l.Home("alice")+":/home/me", "busybox", "sleep", "1000")
			l.OK("alice", "docker", "restart", "-t", "0", "web")
			lowerLimitsHold(t, l)
			raisedAtTheEngine(t, l, id)
			changedInTheEnginesFiles(t, l, id)
			l.OK("alice", "docker", "rm", "-f", "web")
			lab.Clean(t, l)
		})
	}
}

func lowerLimitsHold(t *testing.T, l *lab.Lab) {
	l.Write("etc/ds01/resource-limits.yaml", strings.NewReplacer(
		"memory: 64m", "memory: 32m", "memory_swap: 64m", "memory_swap: 32m", "pids_limit: 40", "pids_limit: 30", "max_cpus: 0.4", "max_cpus: 0.2").Replace(small))
	l.Reload()
	l.OK("alice", "docker", "restart", "-t", "0", "web")
	stands(t, l, "alice", "web", map[string]int64{"memory limit": 32 * lab.MiB, "tasks limit": 30, "cpu quota": 20_000})
	l.Write("etc/ds01/resource-limits.yaml", strings.Replace(small, "shm_size: 32m", "shm_size: 16m", 1))
	l.Reload()
	// What can't be lowered any more is a refusal, and what runs runs on.
	r := l.Docker("alice", "restart", "-t", "0", "web")
	if r.Code == 0 {
		t.Error("restarted with more shared memory than the limit")
	}
	lab.Contains(t, r.Err, "Container not started", "--shm-size 32MiB is over your limit of 16MiB (shm_size: ")
	if got := l.Shown("alice", "web", "{{.State.Running}}"); got != "true" {
		t.Error("a refused restart has ended it")
	}
	l.Write("etc/ds01/resource-limits.yaml", small)
	l.Reload()
}

func raisedAtTheEngine(t *testing.T, l *lab.Lab, id string) {
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.AtEngine("update", "--memory", "1g", "--memory-swap", "2g", "--pids-limit", "-1", "--restart", "always", id)
	l.OK("alice", "docker", "start", "web")
	stands(t, l, "alice", "web", map[string]int64{"memory limit": 64 * lab.MiB, "tasks limit": 40, "cpu quota": 40_000})
	if got := l.AtEngine("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.MemorySwap}}", id); got != "no "+strconv.Itoa(64*lab.MiB) {
		t.Errorf("the engine has %s", got)
	}
	l.OK("alice", "docker", "stop", "-t", "0", "web")
}

// changedInTheEnginesFiles is what only root on the host can do, while the
// engine is away.
func changedInTheEnginesFiles(t *testing.T, l *lab.Lab, id string) {
	for field, value := range map[string]any{
		"Privileged": true, "CapAdd": []string{"SYS_ADMIN"}, "PidMode": "host", "NetworkMode": "host", "CgroupParent": "/",
		"DeviceCgroupRules": []string{"c *:* rwm"}, "Binds": []string{"/etc:/host"}, "SecurityOpt": []string{"seccomp=unconfined"},
		"MaskedPaths": []string{},
	} {
		undo := tamper(t, l, id, field, value)
		r := l.Docker("alice", "start", "web")
		if r.Code == 0 {
			t.Errorf("%s: it started", field)
		}
		lab.Contains(t, r.Err, "Container not started", "Make it anew")
		if r := l.DS01("dean", "container", "start", "web._."+strconv.Itoa(l.UID("alice"))); r.Code != 5 {
			t.Errorf("%s: an administrator starts it: %d %s", field, r.Code, r.Out+r.Err)
		}
		undo()
	}
	l.OK("alice", "docker", "start", "web")
}

// tamper writes into the engine's own files while it is away.
func tamper(t *testing.T, l *lab.Lab, id, field string, value any) (undo func()) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(l.Root), "e/data", "containers", id, "hostconfig.json"))
	more, err2 := filepath.Glob(filepath.Join(filepath.Dir(l.Root), "e/data", "*", "containers", id, "hostconfig.json"))
	files = append(files, more...)
	if err != nil || err2 != nil || len(files) != 1 {
		t.Fatalf("the engine's file: %v, %v, %v", files, err, err2)
	}
	before, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var host map[string]any
	if err := json.Unmarshal(before, &host); err != nil {
		t.Fatal(err)
	}
	host[field] = value
	after, err := json.Marshal(host)
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) {
		if err := l.Engine.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Engine.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Eventually("the engine is reached", 30*time.Second, func() bool { return l.Docker("alice", "ps").Code == 0 })
	}
	write(after)
	return func() { write(before) }
}

// TestAnAdoptedContainerThatReachesBeyondIsForAdministrators is about what was
// made past ds01.
func TestAnAdoptedContainerThatReachesBeyondIsForAdministrators(t *testing.T) {
	l := start(t, lab.Options{Limits: small, Admins: []string{"dean"}})
	l.AtEngine("run", "-d", "--name", "plain", "--restart", "always", "busybox", "sleep", "1000")
	l.AtEngine("run", "-d", "--name", "bound", "-v", "/etc:/host", "busybox", "sleep", "1000")
	for _, name := range []string{"plain", "bound"} {
		l.Eventually(name+" is quarantined", 30*time.Second, func() bool { return l.DS01("dean", "container", "adopt", name, l.Login("alice")).Code == 0 })
		l.OK("alice", "docker", "stop", "-t", "0", name)
	}
	if got := l.AtEngine("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", l.Shown("alice", "plain", "{{.Id}}")); got != "no" {
		t.Errorf("the engine's policy is %s", got)
	}
	if got := l.Shown("alice", "plain", "{{.HostConfig.RestartPolicy.Name}}"); got != "always" {
		t.Errorf("inspect shows %s", got)
	}
	l.OK("alice", "docker", "start", "plain")
	if got := lab.NewControlGroups(t).Number(l.PIDOf("alice", "plain"), "memory limit", 0); got != 64*lab.MiB {
		t.Errorf("memory limit %d", got)
	}
	r := l.Docker("alice", "start", "bound")
	if r.Code == 0 {
		t.Error("alice starts a container with /etc of the host")
	}
	lab.Contains(t, r.Err, "HostConfig.Binds", "/etc:/host", "not mounted by ds01")
	l.OK("dean", l.Binary(), "container", "start", "bound", "--user", l.Login("alice"))
	l.ClearAll()
}
