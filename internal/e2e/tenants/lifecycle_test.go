package tenants_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// inSeconds are limits whose times pass while one looks.
const inSeconds = `
defaults:
  {max_mig_instances: 2, max_containers_per_user: 4, idle_timeout: 8s, max_runtime: 10m, stop_timeout: 1s, container_hold_after_stop: 4s, gpu_hold_after_stop: 10m,
   policies: {grace_period: 1s, first_warning: 0.3, last_warning: 0.6, idle_detection_window: 2, high_demand_threshold: 1, high_demand_idle_reduction: 1}}`

// TestIdleGPUsComeBack: alice has two GPUs, one of which works. She is warned on
// her terminals, here and in the container, and in her workspace; her own program
// saves her work; then the idle one goes to bob, while her container runs on. The
// busy one stays hers for as long as it works. What stops is removed, but for what
// she keeps.
func TestIdleGPUsComeBack(t *testing.T) {
	l := start(t, lab.Options{
		AtStart: true, Users: []string{"alice", "bob"}, Admins: []string{"root"}, Config: "lifecycle: {every: 0.5s}\n",
		Limits: strings.Replace(inSeconds, "idle_timeout: 8s", "idle_timeout: 10m", 1), // until everything is in place
		GPU:    "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}",
	})
	screen := lab.Screen(t, l, "alice")
	for _, name := range []string{"works", "idle"} {
		l.OK("alice", l.Binary(), "container", "create", name, "--image", "busybox", "--gpus", "1")
	}
	workspace := filepath.Join(l.Home("alice"), "workspace/idle")
	l.OK("alice", "sh", "-c", "mkdir "+workspace+"/.ds01; printf '#!/bin/sh\nid -u >/workspace/saved; echo $DS01_CAUSE >>/workspace/saved\n' >"+workspace+"/.ds01/on-warning; chmod +x "+workspace+"/.ds01/on-warning")
	l.OK("alice", l.Binary(), "container", "start", "works")
	l.OK("root", l.Binary(), "gpu", "sim", "set", uuidOf(t, l, "works"), "--util", "80")
	l.OK("alice", l.Binary(), "container", "start", "idle")
	inside, end := lab.Background(t, l, "alice", "docker", "exec", "-t", "idle", "sh", "-c", "echo up; exec sleep 1000")
	defer end()
	l.Eventually("the terminal in the container is open", 30*time.Second, func() bool { return strings.Contains(inside.String(), "up") })
	if r := l.Docker("bob", "run", "--rm", "--gpus", "1", "--network", "none", "busybox", "true"); r.Code == 0 {
		t.Fatal("a third GPU was granted of two")
	}

	l.Write("etc/ds01/resource-limits.yaml", inSeconds)
	l.Reload()
	l.Eventually("both terminals and the workspace warn", 30*time.Second, func() bool {
		const says = "of your container idle is taken back in"
		return strings.Contains(screen(), says) && strings.Contains(inside.String(), says) && fileOf(t, workspace, ".ds01-warning.txt", l.UID("alice"))
	})
	if list := l.OK("alice", l.Binary(), "container", "list"); !strings.Contains(list, "active: GPU 80%") || !strings.Contains(list, "idle ") {
		t.Errorf("the list says\n%s", list)
	}
	l.Eventually("the idle GPU is taken", 30*time.Second, func() bool {
		return strings.Contains(screen(), "was taken back from your container idle")
	})
	saved, err := os.ReadFile(filepath.Join(workspace, "saved"))
	if want := fmt.Sprintf("%d\nidle\n", l.UID("alice")); err != nil || string(saved) != want {
		t.Errorf("her program wrote %q, %v; want %q", saved, err, want)
	}
	if state := l.Shown("alice", "idle", "{{.State.Status}}"); state != "running" {
		t.Errorf("her container is %s", state)
	}
	if r := l.Docker("bob", "run", "-d", "--name", "his", "--gpus", "1", "--network", "none", "busybox", "sleep", "1000"); r.Code != 0 {
		t.Errorf("bob doesn't get it: %+v", r)
	}
	if audit := l.Read("var/log/ds01/audit.jsonl"); !strings.Contains(audit, `"action":"take"`) || !strings.Contains(audit, " of 8s: no GPU") {
		t.Error("the audit log doesn't say why")
	}

	l.OK("alice", l.Binary(), "container", "stop", "idle", "--keep-container")
	if r := l.DS01("alice", "container", "protect", "works"); r.Code != 5 {
		t.Errorf("she protects her own: %+v", r)
	}
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	time.Sleep(10 * time.Second)
	if list := l.OK("alice", l.Binary(), "container", "list"); !strings.Contains(list, "works") || !strings.Contains(list, "kept") {
		t.Errorf("after three times the idle time:\n%s", list)
	}
	uuidOf(t, l, "works") // hers still
	l.OK("alice", l.Binary(), "container", "stop", "works")
	l.Eventually("what stopped is removed", 20*time.Second, func() bool {
		list := l.OK("alice", l.Binary(), "container", "list")
		return !strings.Contains(list, "works") && strings.Contains(list, "idle")
	})
	l.Eventually("bob's idle one loses its GPU, too", 30*time.Second, func() bool { return l.Holder("0") == "free" && l.Holder("1") == "free" })
}

// fileOf reports whether a folder has a file of this name that is theirs.
func fileOf(t *testing.T, folder, name string, uid int) bool {
	t.Helper()
	info, err := os.Lstat(filepath.Join(folder, name))
	return err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == uid
}

// uuidOf returns the device that alice's container holds.
func uuidOf(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	for _, c := range l.Containers() {
		if c.Name == name && len(c.GPUs) == 1 {
			return c.GPUs[0].UUID
		}
	}
	t.Fatalf("%s has no device", name)
	return ""
}

// TestTimesOfContainersWithoutAGPU: they have limits of their own; what was never
// started goes, one that runs for as long as it may is stopped, and can be put off.
func TestTimesOfContainersWithoutAGPU(t *testing.T) {
	const limits = `container_types: {docker: {stop_timeout: 1s}}
defaults: {max_containers_per_user: 5, max_extension: 1h, without_gpu: {max_runtime: %s, container_hold_after_stop: null}, policies: {created_container_timeout: %s}}`
	l := start(t, lab.Options{
		Users: []string{"alice"}, Admins: []string{"root"}, Config: "lifecycle: {every: 0.5s}\n",
		Limits: fmt.Sprintf(limits, "10m", "10m"), // until everything is in place
	})
	l.OK("alice", "docker", "create", "--name", "never", "--network", "none", "busybox", "true")
	for _, name := range []string{"old", "longer", "safe"} {
		l.OK("alice", "docker", "run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
	}
	if grace := l.Shown("alice", "old", "{{.Config.StopTimeout}}"); grace != "1" {
		t.Errorf("one made by docker has %s seconds to end", grace)
	}
	l.OK("alice", l.Binary(), "container", "extend", "longer", "59m")
	if r := l.DS01("alice", "container", "extend", "longer", "2m"); r.Code != 5 || !strings.Contains(r.Err, "max_extension") {
		t.Errorf("beyond the budget: %+v", r)
	}
	l.OK("root", l.Binary(), "container", "protect", "safe", "--user", l.Login("alice"))
	l.OK("alice", l.Binary(), "container", "create", "quick", "--image", "busybox", "--cpu-only", "--time", "3s")
	l.OK("alice", l.Binary(), "container", "start", "quick")
	if r := l.DS01("alice", "container", "extend", "quick", "1m"); r.Code == 0 || !strings.Contains(r.Err, "--time 3s") {
		t.Errorf("what she declared she puts off herself: %+v", r)
	}
	l.Write("etc/ds01/resource-limits.yaml", fmt.Sprintf(limits, "6s", "5s"))
	l.Reload()
	l.Eventually("the old one is stopped and the new one gone", 30*time.Second, func() bool {
		list := l.OK("alice", "docker", "ps", "-a", "--format", "{{.Names}} {{.State}}")
		return strings.Contains(list, "old exited") && strings.Contains(list, "quick exited") && !strings.Contains(list, "never")
	})
	time.Sleep(3 * time.Second)
	if list := l.OK("alice", "docker", "ps", "--format", "{{.Names}}"); !strings.Contains(list, "longer") || !strings.Contains(list, "safe") {
		t.Errorf("there runs %s", list)
	}
	l.OK("root", l.Binary(), "exempt", "add", l.Login("alice"), "--from", "runtime", "--reason", "thesis")
	l.OK("alice", "docker", "start", "old")
	time.Sleep(9 * time.Second)
	if state := l.Shown("alice", "old", "{{.State.Status}}"); state != "running" {
		t.Errorf("one of hers, who is exempt, is %s", state)
	}
	l.OK("root", l.Binary(), "exempt", "remove", l.Login("alice"))
	l.Eventually("it counts again", 20*time.Second, func() bool { return l.Shown("alice", "old", "{{.State.Status}}") == "exited" })
}
