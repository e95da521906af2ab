package files_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// stoppable mounts a file system in alice's home whose program can be made to
// stand still, as a file server can.
func stoppable(t *testing.T, l *lab.Lab) (path string, program *exec.Cmd) {
	t.Helper()
	path, behind := folder(t, l, "alice", "far"), folder(t, l, "alice", "behind")
	program = exec.Command("bindfs", "-f", "-o", "allow_other,default_permissions", behind, path)
	if err := program.Start(); err != nil {
		t.Fatalf("bindfs: %v; 'make deps' installs it", err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill() // whoever waits is let go
		_ = program.Wait()
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	l.Eventually("bindfs has mounted", 10*time.Second, func() bool {
		var fs unix.Statfs_t
		return unix.Statfs(path, &fs) == nil && fs.Type == unix.FUSE_SUPER_MAGIC
	})
	return path, program
}

// TestAFileSystemThatDoesNotAnswer is what a person's dead file server does to
// them, and doesn't to others.
func TestAFileSystemThatDoesNotAnswer(t *testing.T) {
	l := start(t, lab.Options{})
	far, program := stoppable(t, l)
	l.OK("alice", "docker", "create", "--name", "web", "-v", far+":/w", "busybox", "sleep", "1000")
	lab.Must(t, program.Process.Signal(syscall.SIGSTOP))

	began := time.Now()
	type answer struct {
		lab.Result
		after time.Duration
	}
	answers := make(chan answer)
	asks := [][]string{{"start", "web"}, {"run", "--rm", "-v", far + ":/w", "busybox", "true"}, {"create", "-v", far + ":/w:ro", "busybox"}}
	for _, words := range asks {
		go func() {
			r := l.Docker("alice", words...)
			answers <- answer{r, time.Since(began)}
		}()
	}
	time.Sleep(time.Second) // by now all of them wait
	for what, words := range map[string][]string{
		"another's container":        {"bob", "docker", "run", "--rm", "-v", l.Home("bob") + ":/w", "busybox", "true"},
		"one of hers without mounts": {"alice", "docker", "run", "--rm", "busybox", "true"},
		"one of hers with another":   {"alice", "docker", "run", "--rm", "-v", folder(t, l, "alice", "near") + ":/w", "busybox", "true"},
		"her list":                   {"alice", l.Binary(), "container", "list"},
	} {
		if r := l.Run(words[0], words[1:]...); r.Code != 0 {
			t.Errorf("%s: exit code %d: %s", what, r.Code, r.Err)
		}
	}
	for range asks {
		r := <-answers
		if r.Code == 0 || !strings.Contains(r.Err, far+" can't be mounted: its file system doesn't answer") {
			t.Errorf("exit code %d: %s", r.Code, r.Err)
		}
		if r.after > l.Patience(30*time.Second) {
			t.Errorf("she waited %s", r.after)
		}
	}
	if code := l.EndDaemon(syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d while its threads waited", code)
	}
	l.StartDaemon()

	lab.Must(t, program.Process.Signal(syscall.SIGCONT))
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
	l.ClearAll()
}
