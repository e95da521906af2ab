package tenants_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
)

// releasing gives devices back as soon as a container stops.
const releasing = `defaults: {max_mig_instances: 2, max_gpu_share: null, max_gpus_per_container: 2, gpu_hold_after_stop: 0s,
  memory: 64m, memory_swap: 64m, shm_size: 16m, max_cpus: 1}
`

const twoCards = "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}"

func card(minor int) int { return int(unix.Mkdev(120, uint32(minor*16))) }

// wantCards checks which of the two cards somebody's container web has and may open, and that
// it may open no other.
func wantCards(t *testing.T, l *lab.Lab, who string, cards ...int) {
	t.Helper()
	script := "cd /dev"
	for minor := range 2 {
		path := filepath.Join("/proc", l.PIDOf(who, "web"), "root", fmt.Sprint("tried", minor))
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		putNode(t, path, card(minor)) // past ds01
		script += fmt.Sprintf("; echo /tried%d; (exec 3<>/tried%[1]d) 2>&1; echo nvidia%[1]d; [ -e nvidia%[1]d ] && (exec 3<>nvidia%[1]d) 2>&1", minor)
	}
	got := l.Docker(who, "exec", "web", "sh", "-c", script).Out
	want := ""
	for minor := range 2 {
		tried, own := mayNotOpen, ""
		if slices.Contains(cards, minor) {
			tried, own = mayOpen, fmt.Sprintf("sh: can't create nvidia%d: %s\n", minor, mayOpen)
		}
		want += fmt.Sprintf("/tried%[1]d\nsh: can't create /tried%[1]d: %[2]s\nnvidia%[1]d\n%[3]s", minor, tried, own)
	}
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s's container should have the cards %v:\n%s", who, cards, got)
	}
}

// TestAStoppedContainerStartsOnAnotherDevice: alice's card goes to bob while her
// container is stopped. Her container starts on the other one, and the kernel
// keeps it from the one it had.
func TestAStoppedContainerStartsOnAnotherDevice(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, AtStart: true, GPU: twoCards, Limits: releasing})
			run := func(who string) string {
				return l.OK(who, "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
			}
			id := run("alice")
			wantCards(t, l, "alice", 0)
			l.OK("alice", "docker", "stop", "-t", "0", "web")
			l.Eventually("alice's card is free", 10*time.Second, func() bool { return l.Holder("0") == "free" })
			run("bob")
			wantCards(t, l, "bob", 0)
			startedPastDs01(t, l, id)
			l.EndDaemon(syscall.SIGKILL)
			l.StartDaemon()
			if out := l.OK("alice", l.Binary(), "container", "start", "web"); !strings.Contains(out, "GPU 1") {
				t.Errorf("she isn't told which she has: %s", out)
			}
			wantCards(t, l, "alice", 1)
			wantCards(t, l, "bob", 0)
			l.OK("alice", "docker", "restart", "-t", "0", "web")
			wantCards(t, l, "alice", 1)
			noneFits(t, l)
			l.ClearAll()
			lab.Clean(t, l)
		})
	}
}

// startedPastDs01 starts a container at the engine's own socket: its device is
// bob's by now.
func startedPastDs01(t *testing.T, l *lab.Lab, id string) {
	t.Helper()
	l.EndDaemon(syscall.SIGKILL)
	l.AtEngine("start", id)
	path := filepath.Join("/proc", l.AtEngine("inspect", "-f", "{{.State.Pid}}", id), "root/past")
	putNode(t, path, card(0))
	defer os.Remove(path)
	if out := l.AtEngine("exec", id, "sh", "-c", "ls /dev; (exec 3<>/past) 2>&1; true"); strings.Contains(out, "nvidia") || !strings.Contains(out, mayNotOpen) {
		t.Errorf("started past ds01 it reaches a card: %s", out)
	}
	l.StartDaemon()
	l.Eventually("what was started past ds01 is stopped", 10*time.Second, func() bool {
		return l.AtEngine("inspect", "-f", "{{.State.Running}}", id) == "false"
	})
}

// noneFits stops alice's container and gives her card to carol.
func noneFits(t *testing.T, l *lab.Lab) {
	t.Helper()
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.Eventually("alice's card is free", 10*time.Second, func() bool { return l.Holder("1") == "free" })
	l.OK("carol", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	r := l.DS01("alice", "container", "start", "web")
	if r.Code != 4 {
		t.Errorf("no card is free: %+v", r)
	}
	lab.Contains(t, r.Err, "GPU", "--wait")
}

// TestARunningContainerGivesUpAndGetsDevices: alice's container gives its card to
// bob while it runs, and gets it again when he is done. Programs that have it
// open are in the way until they are ended.
func TestARunningContainerGivesUpAndGetsDevices(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, AtStart: true, GPU: twoCards, Limits: releasing})
			l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "2", "busybox", "sleep", "1000")
			wantCards(t, l, "alice", 0, 1)
			if r := l.DS01("alice", "container", "gpu", "add", "web"); r.Code != 5 || !strings.Contains(r.Err, "max_gpus_per_container") {
				t.Errorf("over the limit: %+v", r)
			}
			inUse(t, l)
			wantCards(t, l, "alice", 1)
			l.OK("bob", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
			wantCards(t, l, "bob", 0)
			l.EndDaemon(syscall.SIGKILL)
			l.StartDaemon()
			wantCards(t, l, "alice", 1)
			if r := l.DS01("alice", "container", "gpu", "add", "web"); r.Code != 4 {
				t.Errorf("no card is free: %+v", r)
			}
			l.OK("bob", "docker", "rm", "-f", "web")
			l.OK("alice", l.Binary(), "container", "gpu", "add", "web", "--full")
			wantCards(t, l, "alice", 0, 1)
			halfDone(t, l)
			l.OK("alice", l.Binary(), "container", "gpu", "release", "web")
			wantCards(t, l, "alice")
			l.OK("alice", "docker", "restart", "-t", "0", "web")
			wantCards(t, l, "alice") // it doesn't ask again
			if r := l.DS01("bob", "container", "gpu", "release", "web"); r.Code != 3 {
				t.Errorf("bob takes from alice: %+v", r)
			}
			l.ClearAll()
			lab.Clean(t, l)
		})
	}
}

// devicesGroup is where the kernel's rules for alice's container lie.
func devicesGroup(t *testing.T, l *lab.Lab) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", l.PIDOf("alice", "web"), "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, group, ok := strings.Cut(strings.TrimSpace(line), ":devices:"); ok {
			return filepath.Join("/sys/fs/cgroup/devices", group)
		}
	}
	t.Fatalf("no group of devices: %s", text)
	return ""
}

// inUse has a program of alice's hold her first card open while she releases it.
// No driver is behind the node, so the program has a descriptor that only names it.
func inUse(t *testing.T, l *lab.Lab) {
	t.Helper()
	fd, err := unix.Open(filepath.Join(l.Root, "run/ds01/dev/nvidia0"), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	node := os.NewFile(uintptr(fd), "nvidia0")
	defer node.Close()
	program := exec.Command("sleep", "1000")
	program.ExtraFiles = []*os.File{node}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	pid := fmt.Sprint(program.Process.Pid)
	if err := os.WriteFile(filepath.Join(devicesGroup(t, l), "cgroup.procs"), []byte(pid), 0); err != nil {
		t.Fatal(err)
	}
	release := []string{"container", "gpu", "release", "web", "--device", "0"}
	r := l.DS01("alice", release...)
	if r.Code != 6 {
		t.Errorf("it is released while it is open: %+v", r)
	}
	lab.Contains(t, r.Err, "sleep (process "+pid+")", "--force")
	wantCards(t, l, "alice", 0, 1)
	if r := l.DS01("alice", append(release, "--force")...); r.Code != 0 {
		t.Errorf("with force: %+v", r)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the program goes on")
		_ = program.Process.Kill()
	}
}

// halfDone is a daemon that died after it had stored that alice's container has both
// cards, and before the second could be opened.
func halfDone(t *testing.T, l *lab.Lab) {
	t.Helper()
	group := devicesGroup(t, l)
	uuid := l.GPUs()[0].UUID
	l.EndDaemon(syscall.SIGKILL)
	first := gpu.Device{UUID: uuid, Nodes: []gpu.Node{{Name: "nvidia0", Major: 120}}}
	if err := grant.Folder(filepath.Join(l.Root, "run/ds01/dev")).Give(l.AtEngine("inspect", "-f", "{{.Id}}", l.EngineName("alice", "web")), []gpu.Device{first}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(group, "devices.deny"), []byte("c 120:16 rwm"), 0); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	list := filepath.Join(group, "devices.list")
	l.Eventually("the second card is opened", 10*time.Second, func() bool {
		text, err := os.ReadFile(list)
		return err == nil && strings.Contains(string(text), "c 120:16 rw")
	})
	wantCards(t, l, "alice", 0, 1)
}

// TestADeviceThatIsTakenAwayComesBack: something on the host takes the kernel's rule
// for alice's card away while her container runs, as systemd does, or the node.
// ds01 looks when anything changes, so bob does something. That it was gone is seen
// by the event alone: ds01 may be looking already.
func TestADeviceThatIsTakenAwayComesBack(t *testing.T) {
	for name, atStart := range map[string]bool{"given at each start": true, "stored by the engine": false} {
		t.Run(name, func(t *testing.T) {
			l := start(t, lab.Options{AtStart: atStart, GPU: twoCards, Limits: releasing})
			l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
			wantCards(t, l, "alice", 0)
			ways := map[string]func(){"the rule": func() {
				deny := filepath.Join(devicesGroup(t, l), "devices.deny")
				if err := os.WriteFile(deny, []byte("c 120:0 rwm"), 0o600); err != nil {
					t.Fatal(err)
				}
			}}
			if atStart {
				ways["the node"] = func() {
					if out, err := exec.Command("nsenter", "--mount", "--target", l.PIDOf("alice", "web"), "umount", "/dev/nvidia0").CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
				}
			}
			for way, take := range ways {
				before := len(events(t, l))
				take()
				l.OK("bob", "docker", "create", "--name", "other", "busybox")
				l.OK("bob", "docker", "rm", "other")
				l.Eventually(way+" is back", l.Patience(10*time.Second), func() bool {
					return slices.ContainsFunc(since(t, l, before), func(e event.Event) bool { return e.Action == "mend" && e.Object == "web" })
				})
				wantCards(t, l, "alice", 0)
			}
			l.ClearAll()
			lab.Clean(t, l)
		})
	}
}
