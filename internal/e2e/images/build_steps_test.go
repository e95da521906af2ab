package images_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// buildLimits are small, so that the kernel is soon seen to hold a build to
// them.
const buildLimits = `defaults: {memory: 32m, memory_swap: 32m, max_cpus: 0.5, shm_size: 8m, aggregate: {tasks: 40}}
`

// step is the process of the one step that runs, once there is one that has said
// so in its command.
func step(l *lab.Lab) (pid, id string) {
	l.Eventually("a step runs", 20*time.Second, func() bool {
		id = l.AtEngine("ps", "-q", "--no-trunc")
		if id == "" || strings.Contains(id, "\n") {
			return false
		}
		pid = l.AtEngine("inspect", "-f", "{{.State.Pid}}", id)
		return pid != "0"
	})
	return pid, id
}

// starts begins a build that a person is to be asked to end.
func startBuild(t *testing.T, l *lab.Lab, who, word string) *exec.Cmd {
	t.Helper()
	cmd := l.Command(who, "docker", "build", "-t", "slow", contextOf(t, l, who, recipe("FROM busybox", "RUN echo "+word+" && sleep 1000")))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// nothingLeft waits until no container and no control group of a build is there.
func nothingLeft(l *lab.Lab, id string) {
	l.Eventually("the step is gone", 20*time.Second, func() bool { return l.AtEngine("ps", "-aq") == "" })
	l.Eventually("its control groups are gone", 10*time.Second, func() bool {
		found, err := filepath.Glob("/sys/fs/cgroup/*/*/*/*/" + id)
		more, merr := filepath.Glob("/sys/fs/cgroup/*/*/*/" + id)
		return err == nil && merr == nil && len(found)+len(more) == 0
	})
}

// TestBuildStepsAreHeldToLimits reads the kernel's files of a step while it
// runs, and ends it by each way that it can end.
func TestBuildStepsAreHeldToLimits(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, Admins: []string{"dean"}, Limits: buildLimits})
	g := lab.NewControlGroups(t)
	cmd := startBuild(t, l, "alice", "one")
	pid, id := step(l)
	if got := g.Number(pid, "memory limit", 0); got != 32*lab.MiB {
		t.Errorf("memory limit %d", got)
	}
	if got := g.Number(pid, "cpu quota", 0); got != 50_000 {
		t.Errorf("cpu quota %d", got)
	}
	if got := g.Number(pid, "tasks limit", 1); got != 40 {
		t.Errorf("tasks of the level above: %d", got)
	}
	if got := l.AtEngine("inspect", "-f", "{{.HostConfig.CgroupParent}}", id); !strings.HasSuffix(got, "/u"+strconv.Itoa(l.UID("alice"))) {
		t.Errorf("it runs below %s", got)
	}
	if r := l.DS01("dean", "container", "list", "--all-users"); strings.Contains(r.Out, "quarantine") {
		t.Errorf("the step is in quarantine: %s", r.Out)
	}
	l.AtEngine("run", "-d", "--name", "past", "--cgroup-parent", l.AtEngine("inspect", "-f", "{{.HostConfig.CgroupParent}}", id),
		"--device-cgroup-rule", "c 120:0 rw", "busybox", "sleep", "1000")
	l.Eventually("a container with a device beside it is", 10*time.Second, func() bool {
		return strings.Contains(l.DS01("dean", "container", "list", "--all-users").Out, "quarantine")
	})
	l.AtEngine("rm", "-f", "past")

	t.Log("the client is killed")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	nothingLeft(l, id)

	t.Log("a step takes more memory than it may, one more processes")
	r := builds(t, l, "docker", "alice", recipe("FROM busybox", "RUN dd if=/dev/zero of=/dev/null bs=100M count=1"))
	if r.Code == 0 || !strings.Contains(r.Err+r.Out, "137") {
		t.Errorf("memory: exit code %d: %s %s", r.Code, r.Out, r.Err)
	}
	r = builds(t, l, "docker", "alice", recipe("FROM busybox", "RUN for i in $(seq 60); do sleep 5 & done; wait"))
	if r.Code == 0 || !strings.Contains(r.Err+r.Out, "fork") {
		t.Errorf("processes: exit code %d: %s %s", r.Code, r.Out, r.Err)
	}

	t.Log("the daemon is killed")
	cmd = startBuild(t, l, "alice", "two")
	_, id = step(l)
	l.EndDaemon(syscall.SIGKILL)
	_ = cmd.Wait()
	l.StartDaemon()
	nothingLeft(l, id)

	t.Log("the engine is killed")
	cmd = startBuild(t, l, "alice", "three")
	_, id = step(l)
	if err := l.Engine.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a build without an engine ended well")
	}
	if err := l.Engine.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Eventually("docker works again", 20*time.Second, func() bool { return l.Docker("alice", "images").Code == 0 })
	nothingLeft(l, id)
	if got := l.OK("alice", "docker", "images", "-aq", "slow"); got != "" {
		t.Errorf("slow was built: %s", got)
	}
	built(t, l, "docker", "alice", recipe("FROM busybox", "RUN true"), "-t", "well")
	l.OK("alice", "docker", "run", "--rm", "well", "true")
}

// TestBuildByPython has an ordinary user's program build by Docker's SDK for
// Python.
func TestBuildByPython(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, NetNS: true})
	script, err := os.ReadFile("testdata/build.py")
	if err != nil {
		t.Fatal(err)
	}
	if r := l.Run("alice", "timeout", "60", "python3", "-c", string(script)); r.Code != 0 || r.Out != "done" {
		t.Errorf("exit code %d: %s\n%s", r.Code, r.Out, r.Err)
	}
}
