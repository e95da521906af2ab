package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/terminal"
)

// voice reaches the owners of containers.
type voice struct{ *host }

// Files of a workspace.
const (
	warningFile = ".ds01-warning.txt"
	aliveFile   = ".keep-alive"
	lastCall    = ".ds01/on-warning"
)

// Tell says something at the owner's terminals on the host and at those in the
// container, leaves it in the workspace as them, and sends it.
func (v voice) Tell(ctx context.Context, c container.Record, subject, text string, mail bool) {
	said := subject + ": " + text
	if _, err := terminal.Tell(terminal.Folder, c.UID, "ds01: "+said); err != nil {
		v.d.Log.WarnContext(ctx, "terminals not reached", "uid", c.UID, "error", err)
	}
	if o, ok := v.d.reconciler.Observed(c.ContainerID); ok && o.Running() && v.holds(c.UID, o.ID, o.PID) {
		if _, err := terminal.TellInside(o.PID, "ds01: "+said); err != nil && !errors.Is(err, unix.ENOENT) {
			v.d.Log.WarnContext(ctx, "terminals in a container not reached", "container", o.ID, "error", err)
		}
	}
	note := fmt.Sprintf("%s %s\n", time.Now().Format("2006-01-02 15:04"), said)
	if err := v.inWorkspace(c, func(r mount.Request) error { return mount.Leave(r, warningFile, []byte(note)) }); err != nil {
		v.d.Log.InfoContext(ctx, "warning not left in a workspace", "claim", c.ID, "error", err)
	}
	if mail {
		v.d.post.Send(c.Login, subject, said)
	}
}

// Hush takes the warning out of the workspace.
func (v voice) Hush(ctx context.Context, c container.Record) {
	if err := v.inWorkspace(c, func(r mount.Request) error { return mount.Clear(r, warningFile) }); err != nil {
		v.d.Log.InfoContext(ctx, "warning not taken out of a workspace", "claim", c.ID, "error", err)
	}
}

// Alive reports whether the workspace has the file that asks to let a container
// be, also where that can't be told.
func (v voice) Alive(c container.Record) bool {
	has := false
	err := v.inWorkspace(c, func(r mount.Request) (err error) {
		has, err = mount.Has(r, aliveFile)
		return err
	})
	return has || err != nil && c.Workspace() != ""
}

// inWorkspace calls do with a request for the directory at /workspace, as its
// owner would open it. A container without one has nothing done.
func (v voice) inWorkspace(c container.Record, do func(mount.Request) error) error {
	for _, m := range c.Mounts {
		if m.Target != "/workspace" {
			continue
		}
		who, err := v.d.accounts.Lookup(c.UID)
		if err != nil {
			return err
		}
		root, err := v.rootOf(who, m)
		if err != nil {
			return err
		}
		return do(mounter{v.host}.request(who, root, m))
	}
	return nil
}

func (v voice) rootOf(who account.Account, m container.Mount) (admission.MountRoot, error) {
	l := v.limits(who)
	_, root, err := admission.AllowMount(admission.MountAsk{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}, mounter{v.host}.roots(who, l), l)
	return root, err
}

// LastCall runs the container's own program that saves its work, if its workspace
// has one, as whoever the container runs as.
func (v voice) LastCall(ctx context.Context, c container.Record, why lifecycle.Cause, left time.Duration) error {
	has := false
	err := v.inWorkspace(c, func(r mount.Request) (err error) {
		has, err = mount.Has(r, lastCall)
		return err
	})
	if err != nil || !has {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	program := filepath.Join("/workspace", lastCall)
	env := []string{"DS01_CAUSE=" + string(why), "DS01_SECONDS_LEFT=" + strconv.Itoa(int(left.Seconds()))}
	pid, code, err := v.d.engine.Run(ctx, c.ContainerID, []string{program}, env)
	if errors.Is(err, context.DeadlineExceeded) && pid > 0 && v.holds(c.UID, c.ContainerID, pid) {
		v.d.Log.InfoContext(ctx, "a container's own program takes too long, ending it", "claim", c.ID, "pid", pid)
		return unix.Kill(pid, unix.SIGKILL)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", program, err)
	}
	v.d.Log.InfoContext(ctx, "a container's own program was run", "claim", c.ID, "program", program, "exit_code", code)
	return nil
}
