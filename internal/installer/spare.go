package installer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// A Spare is a second engine on this host, for images alone.
type Spare struct {
	Folder   string // that it is told, of which one that remaps takes a part
	Storage  string // its storage driver
	Remap    bool
	Settings []byte // daemon.json, of which it takes what says how images are stored
}

// spareFolder is where it keeps what it needs while it runs.
const spareFolder = "/run/ds01-remap"

// StartSpare starts it. It has network devices and mounts of its own, so that
// the host's stay as they are, and ends with this process. Whoever calls sees
// that there is one at a time.
func StartSpare(ctx context.Context, s Spare) (socket string, stop func() error, err error) {
	if err := os.RemoveAll(spareFolder); err != nil { // of one that was killed
		return "", nil, err
	}
	if err := os.MkdirAll(spareFolder, 0o700); err != nil {
		return "", nil, err
	}
	settings, err := storing(s.Settings)
	if err == nil {
		err = os.WriteFile(filepath.Join(spareFolder, "daemon.json"), settings, 0o600)
	}
	if err != nil {
		return "", nil, err
	}
	restore, err := keepDoor(s.Folder)
	if err != nil {
		return "", nil, err
	}
	log, err := os.Create(filepath.Join(spareFolder, "log"))
	if err != nil {
		return "", nil, err
	}
	defer log.Close() //nolint:errcheck // the engine has its own copy
	program, err := exec.LookPath("dockerd")
	if err != nil { // as in run
		program = "/usr/sbin/dockerd"
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, s.arguments()...) //nolint:gosec // the host's engine
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS,
	}
	gone, err := hold(cmd)
	if err != nil {
		return "", nil, fmt.Errorf("start a second engine: %w", err)
	}
	return filepath.Join(spareFolder, "docker.sock"), func() error { return errors.Join(end(cmd, gone), restore()) }, nil
}

func (s Spare) arguments() []string {
	in := func(name string) string { return filepath.Join(spareFolder, name) }
	all := []string{
		"--config-file", in("daemon.json"), "--data-root", s.Folder, "--storage-driver", s.Storage, "-H", "unix://" + in("docker.sock"),
		"--exec-root", in("exec"), "--pidfile", in("pid"),
		"--containerd-namespace", "ds01-remap", "--containerd-plugins-namespace", "ds01-remap-plugins",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--log-level=warn",
	}
	if s.Remap {
		all = append(all, "--userns-remap", "default")
	}
	return all
}

// keepDoor remembers who may pass a folder. An engine sets it as it starts: one
// that doesn't remap shuts out the containers of one that does.
func keepDoor(dir string) (restore func() error, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("%s has no owner", dir)
	}
	return func() error {
		return errors.Join(os.Chown(dir, int(st.Uid), int(st.Gid)), os.Chmod(dir, info.Mode().Perm()))
	}, nil
}

// hold starts a process from a thread that lives as long: when the thread
// ends, so does the process.
func hold(cmd *exec.Cmd) (gone <-chan struct{}, err error) {
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is told to end
		}
	}()
	return ended, <-started
}

// patientEnd is how long a second engine may take to end.
const patientEnd = 30 * time.Second

func end(cmd *exec.Cmd, gone <-chan struct{}) error {
	select {
	case <-gone:
		said, _ := os.ReadFile(filepath.Join(spareFolder, "log")) // else there is nothing to tell
		return fmt.Errorf("the second engine ended by itself: %s", bytes.TrimSpace(said[max(0, len(said)-2000):]))
	default:
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have gone
	select {
	case <-gone:
	case <-time.After(patientEnd):
		_ = cmd.Process.Kill()
		<-gone
	}
	if err := os.RemoveAll(spareFolder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// storing returns the settings of an engine that say how it stores images.
func storing(settings []byte) ([]byte, error) {
	all := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(settings)) > 0 {
		if err := json.Unmarshal(settings, &all); err != nil {
			return nil, err
		}
	}
	some := map[string]json.RawMessage{}
	for _, key := range []string{"storage-opts", "features"} {
		if value, ok := all[key]; ok {
			some[key] = value
		}
	}
	return json.Marshal(some)
}
