package mount_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// stoppable mounts a file system at path whose program can be made to stand
// still, as a file server can. Its root is the owner's.
func (p place) stoppable(path string) (program *exec.Cmd) {
	p.t.Helper()
	behind := path + ".behind"
	p.folder(path, p.own.UID, p.own.GID, 0o755)
	p.folder(behind, p.own.UID, p.own.GID, 0o755)
	program = exec.Command("bindfs", "-f", "-o", "allow_other,default_permissions", behind, path)
	if err := program.Start(); err != nil {
		p.t.Fatalf("bindfs: %v; 'make deps' installs it", err)
	}
	p.t.Cleanup(func() {
		_ = program.Process.Kill() // whoever waits is let go
		_ = program.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var fs unix.Statfs_t
		if unix.Statfs(path, &fs) == nil && fs.Type == unix.FUSE_SUPER_MAGIC {
			return program
		}
	}
	p.t.Fatal("bindfs mounts nothing")
	return nil
}

func TestAFileSystemThatDoesNotAnswer(t *testing.T) {
	alice, bob := newPlace(t, "/tmp", person(t, aliceName)), newPlace(t, "/tmp", person(t, bobName))
	must(t, unix.Chmod(alice.home, 0o755))
	waits := &mount.Waits{Patience: time.Minute}
	silent := filepath.Join(alice.home, "silent")
	program := alice.stoppable(silent)
	ask := func(p place, source string) error {
		r := p.request(source, nil)
		r.Waits = waits
		return mount.Prepare(r)
	}
	must(t, ask(alice, silent))
	must(t, program.Process.Signal(syscall.SIGSTOP))

	waits.Patience = 300 * time.Millisecond
	began := time.Now()
	for range 4 {
		if err := ask(alice, silent); !errors.Is(err, problem.ErrUnavailable) {
			t.Fatalf("%v, want it to be unavailable", err)
		}
	}
	// Four threads wait: from now on hers are refused at once.
	for range 100 {
		if err := ask(alice, silent); !errors.Is(err, problem.ErrUnavailable) {
			t.Fatalf("%v, want it to be unavailable", err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a hundred refusals took %s", took)
	}
	waits.Patience = time.Minute
	must(t, ask(bob, bob.home))

	must(t, program.Process.Signal(syscall.SIGCONT))
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = ask(alice, silent); err == nil {
			return
		}
	}
	t.Errorf("still, when the file system answers again: %v", err)
}

// Everybody's mounts ask where each allowed root leads to.
func TestARootThatDoesNotAnswer(t *testing.T) {
	p := newPlace(t, "/tmp", person(t, aliceName))
	silent := filepath.Join(p.dir, "silent")
	waits := &mount.Waits{Patience: 300 * time.Millisecond}
	must(t, p.stoppable(silent).Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	for range 100 {
		if got, err := waits.Settle(filepath.Join(silent, "data")); err == nil {
			t.Fatalf("it leads to %s", got)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a hundred people waited %s", took)
	}
	waits.Patience = time.Minute
	if got, err := waits.Settle(p.home); err != nil || got != p.home {
		t.Errorf("another root leads to %q, %v", got, err)
	}
}

func TestManyAtOnceWaitForTheirTurn(t *testing.T) {
	p := newPlace(t, "/tmp", person(t, aliceName))
	waits := &mount.Waits{Patience: time.Minute} // what is tried is that they take turns, not how fast
	results := make(chan error)
	for range 200 {
		go func() {
			r := p.request(p.home, nil)
			r.Waits = waits
			_, err := mount.Mappable(r)
			results <- err
		}()
	}
	for range 200 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
