package scratch_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
)

// start starts an engine with a busybox image and stops it after the test.
func start(t *testing.T, opts scratch.Options) *scratch.Engine {
	t.Helper()
	needEngine(t)
	e, err := scratch.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	if err := e.LoadBusybox(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func stop(t *testing.T, e *scratch.Engine) {
	t.Helper()
	if err := e.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// needEngine skips where no engine can run, and fails there in CI.
func needEngine(t *testing.T) {
	t.Helper()
	missing := scratch.Missing()
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CI") == "true":
		t.Fatalf("missing: %v", missing)
	default:
		t.Skipf("missing: %v; 'make deps' installs packages", missing)
	}
}

// folder returns a folder with a name short enough for sockets, which
// t.TempDir's isn't, and open to remapped root.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ds01t") //nolint:usetesting // see above
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for a look: %s", dir) // and mounts may be in it
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// run starts a container that does nothing for long, and returns its ID.
func run(t *testing.T, e *scratch.Engine) string {
	t.Helper()
	return docker(t, e, "run", "-d", "--stop-timeout", "1", "busybox", "sleep", "1000")
}

func docker(t *testing.T, e *scratch.Engine, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"-H", e.Host()}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// wantNothingOf fails if a process, a mount, a file but logs, or one of the
// given cgroups of an engine is left.
func wantNothingOf(t *testing.T, dir string, cgroups ...string) {
	t.Helper()
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		cmdline, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended since
		}
		if bytes.Contains(cmdline, []byte(dir+"/")) {
			t.Errorf("left: process %s", bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	for mount := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		if strings.Contains(mount, dir+"/") {
			t.Errorf("left: mount %s", mount)
		}
	}
	for _, cgroup := range cgroups {
		for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			groups, err := filepath.Glob(pattern + cgroup)
			if err != nil || len(groups) > 0 {
				t.Errorf("left: cgroups %v, %v", groups, err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	logs := []string{"containerd.log", "containerd.toml", "dockerd.json", "dockerd.log", "guard.log", "lock"}
	for _, entry := range entries {
		if !slices.Contains(logs, entry.Name()) {
			t.Errorf("left: file %s", entry.Name())
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// eventually waits until ok, for ten seconds.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within ten seconds")
		}
	}
}

// lock locks the file until the test ends, and tells whether it could.
func lock(t *testing.T, path string, how int) bool {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return syscall.Flock(int(file.Fd()), how) == nil
}

// hasUser tells whether the user whose ids remapped engines use is there, and
// fails if it is so only in part.
func hasUser(t *testing.T) bool {
	t.Helper()
	var in []string
	files := []string{"/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"}
	for _, path := range files {
		if strings.Contains(read(t, path), "ds01-scratch:") {
			in = append(in, path)
		}
	}
	if len(in) != 0 && len(in) != len(files) {
		t.Errorf("user only in %v", in)
	}
	return len(in) > 0
}
