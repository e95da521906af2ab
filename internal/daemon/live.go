package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// live changes what a running container may open.
type live struct{ *host }

// Possible says why this host can't.
func (l live) Possible() error { return l.mayChange() }

// Allow lets a container open a node and shows it there.
func (l live) Allow(ctx context.Context, uid int, o container.Observed, n gpu.Node) error {
	if err := l.Restore(ctx, uid, o, n); err != nil {
		return err
	}
	return l.within(uid, o, func(namespace int) error {
		return mount.ShowNode(filepath.Join(l.d.paths.DeviceNodes, n.Name), n.Name, namespace)
	})
}

// Lost reports whether a container has lost the kernel's rule for a node, and
// whether the node isn't shown.
func (l live) Lost(uid int, o container.Observed, n gpu.Node) (rule, shown bool, err error) {
	may, err := l.tree.MayOpen(l.container(uid, o.ID), n.Major, n.Minor)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return false, false, err
	}
	rule = err == nil && !may
	there, err := mount.NodeShown(o.PID, n.Name)
	if !l.holds(uid, o.ID, o.PID) { // it has ended, and its number may be another's
		return false, false, nil
	}
	return rule, !there, err
}

// Restore gives a container the kernel's rule for a node. Where systemd keeps the
// groups it is told too, and gives the rule again when it reads its units.
func (l live) Restore(ctx context.Context, uid int, o container.Observed, n gpu.Node) error {
	var untold error
	if l.bySystemd() {
		untold = l.systemd.AllowDevice(ctx, scopeOf(o), n.Major, n.Minor)
	}
	return errors.Join(untold, l.tree.Allow(l.container(uid, o.ID), n.Major, n.Minor))
}

func scopeOf(o container.Observed) string { return "docker-" + o.ID + ".scope" }

// Deny keeps a container from opening a node again. On v2 that holds whatever systemd
// allows; on v1 it must not allow it when it reads its units again.
func (l live) Deny(ctx context.Context, uid int, o container.Observed, n gpu.Node) error {
	if l.bySystemd() && l.tree.Version() == 1 {
		if err := l.systemd.DenyDevice(ctx, scopeOf(o), n.Major, n.Minor); err != nil {
			return err
		}
	}
	return l.tree.Deny(l.container(uid, o.ID), n.Major, n.Minor)
}

// Hide takes a node out of a container's file system.
func (l live) Hide(uid int, o container.Observed, n gpu.Node) error {
	return l.within(uid, o, func(namespace int) error { return mount.HideNode(n.Name, namespace) })
}

// within calls do with the mount namespace of a container's first process.
func (l live) within(uid int, o container.Observed, do func(namespace int) error) error {
	namespace, err := mount.OpenNamespace(o.PID)
	if err != nil {
		return err
	}
	defer namespace.Close()         //nolint:errcheck // read only
	if !l.holds(uid, o.ID, o.PID) { // else the number is another process's by now
		return fmt.Errorf("container %s has ended: %w", o.ID, problem.ErrConflict)
	}
	return do(int(namespace.Fd()))
}

// Openers returns the processes of a container, or where it is "" of all of a
// person's, that have one of the nodes open.
func (l live) Openers(uid int, container string, nodes []gpu.Node) ([]launcher.Opener, error) {
	group := l.path(uid)
	if container != "" {
		group = l.container(uid, container)
	}
	devices := make([]uint64, len(nodes))
	for i, n := range nodes {
		devices[i] = unix.Mkdev(n.Major, n.Minor)
	}
	found, err := l.tree.Openers(group, devices)
	all := make([]launcher.Opener, len(found))
	for i, o := range found {
		all[i] = launcher.Opener(o)
	}
	return all, err
}

// endGrace is how long processes have to end by themselves.
const endGrace = 3 * time.Second

// EndOpeners ends them, first by asking, and returns once there are none.
func (l live) EndOpeners(ctx context.Context, uid int, container string, nodes []gpu.Node) error {
	ctx, cancel := context.WithTimeout(ctx, endGrace+endTimeout)
	defer cancel()
	asked, kill := map[int]bool{}, time.Now().Add(endGrace)
	for {
		openers, err := l.Openers(uid, container, nodes)
		if err != nil || len(openers) == 0 {
			return err
		}
		for _, o := range openers {
			signal := unix.SIGTERM
			if time.Now().After(kill) {
				signal = unix.SIGKILL
			} else if asked[o.PID] {
				continue
			}
			asked[o.PID] = true
			if err := unix.Kill(o.PID, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end process %d: %w", o.PID, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end the processes that have a GPU open: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
