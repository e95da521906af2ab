package scratch_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ds01.dev/ds01/internal/docker/scratch"
)

// starterDir tells a copy of this test binary to start an engine in the named
// folder and wait to be killed.
const starterDir = "DS01_SCRATCH_STARTER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(starterDir); dir != "" {
		startAndWait(dir)
	}
	os.Exit(m.Run())
}

func TestTwoEnginesDontNoticeEachOther(t *testing.T) {
	victim := start(t, scratch.Options{Dir: folder(t)})
	id := run(t, victim)
	before := docker(t, victim, "inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}} {{.State.Status}}", id)

	dir := folder(t)
	other := start(t, scratch.Options{Dir: dir, Remap: true})
	run(t, other)
	if got := docker(t, victim, "ps", "-q"); strings.Count(got, "\n") != 0 {
		t.Errorf("the first engine has containers of the second: %s", got)
	}
	stop(t, other)

	wantNothingOf(t, dir, other.CgroupParent())
	if after := docker(t, victim, "inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}} {{.State.Status}}", id); after != before {
		t.Errorf("the first engine's container was %q, is %q", before, after)
	}
	if got := docker(t, victim, "exec", id, "echo", "alive"); got != "alive" {
		t.Errorf("the first engine's container said %q", got)
	}
}

func TestRootIsNobodyOutsideARemappedEngine(t *testing.T) {
	e := start(t, scratch.Options{Dir: folder(t), Remap: true})
	id := run(t, e)
	pid := docker(t, e, "inspect", "-f", "{{.State.Pid}}", id)
	status := read(t, "/proc/"+pid+"/status")
	want := "Uid:\t" + strconv.Itoa(scratch.RemapBase) + "\t"
	if !strings.Contains(status, want) {
		t.Errorf("no %q in the container's status:\n%s", want, status)
	}
	if cgroup := read(t, "/proc/"+pid+"/cgroup"); !strings.Contains(cgroup, ":"+e.CgroupParent()+"/"+id) {
		t.Errorf("not below %s:\n%s", e.CgroupParent(), cgroup)
	}
}

func TestContainersLiveAsLongAsTheOptionsSay(t *testing.T) {
	for name, tt := range map[string]struct {
		opts scratch.Options
		kill bool
		want string
	}{
		"restart ends containers":                          {want: "exited"},
		"containers live over a restart with live restore": {opts: scratch.Options{LiveRestore: true}, want: "running"},
		"containers live over a crash with live restore":   {opts: scratch.Options{LiveRestore: true, Remap: true}, kill: true, want: "running"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Dir = folder(t)
			e := start(t, tt.opts)
			id := run(t, e)
			if tt.kill {
				if err := e.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := docker(t, e, "inspect", "-f", "{{.State.Status}}", id); got != tt.want {
				t.Errorf("container is %s, want %s", got, tt.want)
			}
			stop(t, e)
			wantNothingOf(t, tt.opts.Dir, e.CgroupParent())
		})
	}
}

func TestTheRemapUserGoesWithTheLastEngine(t *testing.T) {
	first := start(t, scratch.Options{Dir: folder(t), Remap: true})
	second := start(t, scratch.Options{Dir: folder(t), Remap: true})
	stop(t, first)
	if !hasUser(t) {
		t.Error("no user, though an engine needs it")
	}
	stop(t, second)

	// engines of other tests may run at this moment: their guards hold the
	// lock on users, and none comes or goes while we hold the mutex
	lock(t, "/run/ds01-scratch.mutex", syscall.LOCK_EX)
	needed := !lock(t, "/run/ds01-scratch.users", syscall.LOCK_EX|syscall.LOCK_NB)
	if has := hasUser(t); has != needed {
		t.Errorf("user there: %v, needed: %v", has, needed)
	}
}

func TestAnOrphanInTheCgroupEndsWithTheEngine(t *testing.T) {
	e := start(t, scratch.Options{Dir: folder(t)})
	run(t, e) // makes the cgroup
	orphan := exec.Command("/bin/busybox", "sleep", "1000")
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = orphan.Process.Kill() }) // if the engine didn't
	groups, err := filepath.Glob("/sys/fs/cgroup/pids" + e.CgroupParent())
	if err != nil || len(groups) == 0 {
		groups = []string{"/sys/fs/cgroup" + e.CgroupParent()} // cgroup v2
	}
	if err := os.WriteFile(groups[0]+"/cgroup.procs", []byte(strconv.Itoa(orphan.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	if err := orphan.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the orphan ended with %v", err)
	}
}

func TestAKilledStarterLeavesNothing(t *testing.T) {
	dir := folder(t)
	starter := exec.Command("/proc/self/exe")
	starter.Env = append(os.Environ(), starterDir+"="+dir)
	starter.Stderr = os.Stderr
	output, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	cgroup := make([]byte, 64)
	n, err := output.Read(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // it was killed
	// the guard holds the folder until it is done
	eventually(t, func() bool { return lock(t, dir+"/lock", syscall.LOCK_EX|syscall.LOCK_NB) })
	wantNothingOf(t, dir, string(cgroup[:n]))
}

// startAndWait is what the starter of TestAKilledStarterLeavesNothing does.
func startAndWait(dir string) {
	ctx := context.Background()
	e, err := scratch.Start(ctx, scratch.Options{Dir: dir, Remap: true})
	if err == nil {
		err = e.LoadBusybox(ctx)
	}
	if err == nil {
		err = exec.Command("docker", "-H", e.Host(), "run", "-d", "--cgroup-parent", e.CgroupParent()+"/ds01/u1", "busybox", "sleep", "1000").Run()
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString(e.CgroupParent())
	select {}
}

func TestALeftEngineRunsUntilItIsSwept(t *testing.T) {
	dir := folder(t)
	e := start(t, scratch.Options{Dir: dir})
	id := run(t, e)
	if err := scratch.Sweep(t.Context(), dir); err == nil {
		t.Fatal("swept while its starter held it")
	}
	if err := e.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := docker(t, e, "inspect", "-f", "{{.State.Status}}", id); got != "running" {
		t.Errorf("container is %s", got)
	}
	if err := scratch.Sweep(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	wantNothingOf(t, dir, e.CgroupParent())
}

func TestAnEngineThatCannotStartLeavesItsReasonOnly(t *testing.T) {
	needEngine(t)
	dir := folder(t)
	_, err := scratch.Start(t.Context(), scratch.Options{Dir: dir, Socket: "/nonexistent/engine.sock"})
	if err == nil || !strings.Contains(err.Error(), "dockerd ended (exit status 1)") || !strings.Contains(err.Error(), "/nonexistent/engine.sock") {
		t.Errorf("got error %v, want dockerd's own", err)
	}
	wantNothingOf(t, dir)
}

func TestStartSaysWhatIsWrongWithTheFolder(t *testing.T) {
	closed := filepath.Join(folder(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	used := folder(t)
	start(t, scratch.Options{Dir: used})
	for name, tt := range map[string]struct {
		opts scratch.Options
		want string
	}{
		"relative":                 {scratch.Options{Dir: "engine"}, "absolute path"},
		"with a space":             {scratch.Options{Dir: "/tmp/my engine"}, "absolute path"},
		"going up":                 {scratch.Options{Dir: "/tmp/../etc"}, "absolute path"},
		"too long for its sockets": {scratch.Options{Dir: "/tmp/" + strings.Repeat("x", 80)}, "too long"},
		"closed to remapped root":  {scratch.Options{Dir: closed + "/engine", Remap: true}, closed + " is closed to others"},
		"no driver for cgroups":    {scratch.Options{Dir: used, CgroupDriver: "none"}, `cgroup driver "none": want cgroupfs or systemd`},
		"of another engine":        {scratch.Options{Dir: used}, "another engine runs in " + used},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scratch.Start(t.Context(), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
