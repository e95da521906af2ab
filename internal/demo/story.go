package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
)

// A scene is one command that a person types.
type scene struct {
	say     string
	login   string
	words   []string
	refused bool // the command must fail
}

// tell plays the story. A command that ends otherwise than it must is an
// error.
func (d *demo) tell(ctx context.Context) error {
	probe := "ls -l /dev/nvidia*"
	for _, s := range []scene{
		{
			"Ada uses stock docker. She gets a GPU: its device node, and no other.", ada,
			[]string{"docker", "run", "-d", "--name", "train", "--gpus", "1", "-v", filepath.Join(Folder, "home", ada) + ":/work", "busybox", "sleep", "600"},
			false,
		},
		{"", ada, []string{"docker", "exec", "train", "sh", "-c", probe}, false},
		{"What root in her container writes is hers on the host.", ada, []string{"docker", "exec", "train", "sh", "-c", "echo 42 > /work/result; id -un"}, false},
		{"", ada, []string{"ls", "-l", "result"}, false},
		{"Bob uses ds01: a container with a GPU and a workspace, in one step.", bob, []string{d.Binary, "container", "deploy", "lab", "--background"}, false},
		{"Bob doesn't see Ada's container.", bob, []string{"docker", "ps"}, false},
		{"", bob, []string{"docker", "logs", "train"}, true},
		{"Bob wants a second GPU: refused, with the limit and where it comes from.", bob, []string{"docker", "run", "--rm", "--gpus", "1", "busybox", "true"}, true},
		{"And no one becomes root on the host.", bob, []string{"docker", "run", "--rm", "--privileged", "busybox", "true"}, true},
		{"The administrator sees it all.", "root", []string{d.Binary, "dashboard"}, false},
	} {
		if err := d.play(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) play(ctx context.Context, s scene) error {
	if s.say != "" {
		d.say("%s", s.say)
	}
	fmt.Fprintf(d.Out, "%s$ %s\n", strings.TrimPrefix(s.login, "ds01-"), typed(s.words))
	var out bytes.Buffer
	cmd := d.as(ctx, s.login, s.words...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	fmt.Fprint(d.Out, quiet(out.String()))
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return fmt.Errorf("%s: %w", typed(s.words), err)
	case s.refused && err == nil:
		return fmt.Errorf("%s: this should have been refused", typed(s.words))
	case !s.refused && err != nil:
		return fmt.Errorf("%s: %w", typed(s.words), err)
	}
	return nil
}

// typed returns the words as a person would type them.
func typed(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		if i == 0 {
			w = filepath.Base(w)
		}
		if strings.ContainsAny(w, " *;>") {
			w = "'" + w + "'"
		}
		shown[i] = w
	}
	return strings.Join(shown, " ")
}

// quiet drops lines that say nothing about the story: the engine has no
// network here, and docker points at its help.
func quiet(out string) string {
	var kept strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "WARNING: IPv4") || strings.HasPrefix(line, "Run 'docker run --help'") || strings.HasPrefix(line, "See 'docker run --help'") || strings.TrimSpace(line) == "" {
			continue
		}
		kept.WriteString(line)
	}
	return kept.String()
}

// pidFile tells a later --end which daemon to stop.
const pidFile = Folder + "/daemon.pid"

// leave lets everything run on and says how to use it.
func (d *demo) leave(ctx context.Context) error {
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(d.daemon.Pid)), 0o600); err != nil {
		return fmt.Errorf("keep the demo: %w", err)
	}
	if err := d.engine.Leave(ctx); err != nil {
		return err
	}
	d.say("It goes on. To use it, in a root shell:")
	for _, e := range d.environment() {
		fmt.Fprintf(d.Out, "  export %s\n", e)
	}
	fmt.Fprintf(d.Out, "  su %s --whitelist-environment=DOCKER_HOST,DS01_HOST -\n  docker run -it --rm --gpus 1 busybox\n", ada)
	fmt.Fprintf(d.Out, "To take it away:\n  %s demo --end\n", d.Binary)
	return nil
}

// end takes a kept demo away.
func (d *demo) end(ctx context.Context) error {
	if _, err := os.Lstat(Folder); errors.Is(err, os.ErrNotExist) {
		d.say("There is no demo to take away.")
		return nil
	}
	errs := []error{d.endDaemon(ctx)}
	if _, err := os.Lstat(engineFolder); err == nil {
		errs = append(errs, scratch.Sweep(ctx, engineFolder))
	}
	errs = append(errs, removePeople(ctx))
	if err := errors.Join(errs...); err != nil {
		return err // the folder stays: something in it may be in use
	}
	return removeFolder()
}

// endDaemon ends the daemon that the pid file names, if it still is that one.
func (d *demo) endDaemon(ctx context.Context) error {
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end the daemon: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("end the daemon: %w", err)
	}
	isOurs := func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && bytes.Contains(line, []byte("daemon\x00--root\x00"+d.root))
	}
	if !isOurs() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end the daemon: %w", err)
	}
	for isOurs() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
