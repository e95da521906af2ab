package files_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestMountsOfAKilledDaemonGoAway kills it after a container's mounts are made
// and before the engine starts the container.
func TestMountsOfAKilledDaemonGoAway(t *testing.T) {
	l := start(t, lab.Options{Proxy: true})
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "create", "--name", "web", "-v", work+":/w", "-v", work+":/again:ro", "busybox", "touch", "/w/ran")
	asked, killed := make(chan struct{}), make(chan struct{})
	defer close(killed)
	l.Proxy.Decide(lab.Once(lab.Starts, lab.Fate{LoseRequest: true, Arrived: asked, Until: killed}))
	client := l.Command("alice", "docker", "start", "web")
	lab.Must(t, client.Start())
	<-asked
	if got := mounted(t, l); len(got) != 2 {
		t.Errorf("mounted when the start is asked for: %v", got)
	}
	l.EndDaemon(syscall.SIGKILL)
	if client.Wait() == nil {
		t.Error("the start went well without a daemon")
	}
	if got := mounted(t, l); len(got) != 2 {
		t.Errorf("mounted after the kill: %v", got)
	}
	l.StartDaemon()
	l.Eventually("nothing is mounted", 10*time.Second, func() bool { return len(mounted(t, l)) == 0 })
	l.OK("alice", "docker", "start", "-a", "web")
	onlyHers(t, l, work)
	l.OK("alice", "docker", "rm", "web")
}

// TestMountsComeBackAfterAReboot has one end everything that a reboot ends.
func TestMountsComeBackAfterAReboot(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			work := folder(t, l, "alice", "work")
			id := l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
			moved := folder(t, l, "alice", "moved")
			other := l.OK("alice", "docker", "run", "-d", "--name", "other", "-v", moved+":/w", "busybox", "sleep", "1000")
			l.EndDaemon(syscall.SIGKILL)
			l.AtEngine("kill", id, other)
			for _, at := range mounted(t, l) {
				lab.Must(t, unix.Unmount(at, unix.MNT_DETACH))
			}
			lab.Must(t, os.RemoveAll(filepath.Join(l.Root, "run/ds01/mnt"))) // /run is empty then
			undo := swap(l, "alice", moved)
			defer undo()
			l.StartDaemon()
			l.OK("alice", "docker", "start", "web")
			l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
			onlyHers(t, l, work)
			if r := l.Docker("alice", "start", "other"); r.Code == 0 || !strings.Contains(r.Err, "a symbolic link") {
				t.Errorf("what was swapped meanwhile: exit code %d: %s", r.Code, r.Err)
			}
			l.ClearAll()
			if left := mounted(t, l); len(left) > 0 {
				t.Errorf("still mounted: %v", left)
			}
		})
	}
}

// TestMountsOfALostStoreAreTakenAway: nobody knows whose they are.
func TestMountsOfALostStoreAreTakenAway(t *testing.T) {
	l := start(t, lab.Options{Limits: "defaults: {max_containers_per_user: null}\n"})
	work := folder(t, l, "alice", "work")
	id := l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	l.EndDaemon(syscall.SIGKILL)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(l.Root, "var/lib/ds01/ds01.db"+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	l.StartDaemon()
	if left := mounted(t, l); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	l.AtEngine("exec", id, "touch", "/w/mine") // what runs keeps what it has
	onlyHers(t, l, work)
	l.AtEngine("rm", "-f", id)
}

// TestTmpfsInContainers is what the kernel says about memory-backed mounts.
func TestTmpfsInContainers(t *testing.T) {
	l := start(t, lab.Options{Limits: "defaults: {memory: 64m, memory_swap: 64m, shm_size: 16m, aggregate: {memory: 128m}}\n"})
	r := l.Docker("alice", "run", "--rm", "--tmpfs", "/a", "--tmpfs", "/b:size=8m,mode=1777,exec", "--mount", "type=tmpfs,target=/c,tmpfs-size=4194304", "busybox",
		"sh", "-c", "grep -E ' /[abc] ' /proc/self/mounts; dd if=/dev/zero of=/b/x bs=1M count=9; mknod /b/null c 1 3; exit 0")
	for at, size := range map[string]string{"/a": "65536k", "/b": "8192k", "/c": "4096k"} {
		i := strings.Index(r.Out, " "+at+" ")
		if i < 0 {
			t.Fatalf("%s isn't there: %s %s", at, r.Out, r.Err)
		}
		line, _, _ := strings.Cut(r.Out[i:], "\n")
		lab.Contains(t, line, "nosuid", "nodev", "size="+size)
	}
	lab.Contains(t, r.Err, "No space left on device", "mknod")
	// More than the container's memory in two that each fit: it ends, and the host doesn't notice.
	if r := l.Docker("alice", "run", "--rm", "--tmpfs", "/a", "--tmpfs", "/b", "busybox", "sh", "-c", "dd if=/dev/zero of=/a/x bs=1M count=50 && dd if=/dev/zero of=/b/x bs=1M count=50 && echo full"); strings.Contains(r.Out, "full") {
		t.Error("100 MiB of files fit into 64 MiB of memory")
	}
	if r := l.Docker("alice", "run", "--rm", "--tmpfs", "/a:size=65m", "busybox", "true"); r.Code != 125 || !strings.Contains(r.Err, "memory of 64MiB") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
}
