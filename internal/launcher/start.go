package launcher

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// Start starts a container: it asks for devices that were given back, renews
// the owner's limits, checks what the engine has stored, opens their directories
// again, and only then lets the engine start it. Starting one that runs does
// nothing.
func (l *Launcher) Start(ctx context.Context, claim string) error {
	return l.startLocked(ctx, claim, byOwner)
}

// StartAsIs starts a container for an administrator: one that was made past
// ds01 and adopted is started whatever it reaches.
func (l *Launcher) StartAsIs(ctx context.Context, claim string) error {
	return l.startLocked(ctx, claim, byAdmin)
}

// A cause is who or what a start is for.
type cause int

const (
	byOwner cause = iota
	byAdmin
	byPolicy // the container's own restart policy
)

func (l *Launcher) startLocked(ctx context.Context, claim string, why cause) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	return l.start(ctx, claim, why)
}

// Restart stops a container and starts it again. A negative timeout leaves
// the grace period to the container. One that may not be started is not
// stopped either.
func (l *Launcher) Restart(ctx context.Context, claim string, timeout time.Duration) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, err := l.existing(notStarted, claim)
	if err == nil {
		err = refuseWhileCopying(notStarted, claim, &l.copies, &l.holds)
	}
	if err != nil {
		return err
	}
	f, err := l.footing(ctx, record, byOwner)
	if err != nil {
		return err
	}
	if err := l.refuseWhileCovered(notStarted, record.UID, f.volumes); err != nil {
		return err
	}
	if err := l.Engine.Stop(ctx, record.ContainerID, timeout); err != nil {
		return err
	}
	return l.bringUpOrRemove(ctx, record, f, byOwner)
}

const notStarted = "Container not started"

// existing returns the record of a container that the engine has; what says
// what isn't done without one.
func (l *Launcher) existing(what, claim string) (container.Record, error) {
	record, ok := l.Ledger.Record(claim)
	if !ok {
		return record, &problem.Error{What: what, Why: problem.Because(problem.ErrNotFound, "it was removed")}
	}
	if record.ContainerID == "" {
		return record, &problem.Error{
			What: what, Why: problem.Because(problem.ErrConflict, record.Name+" is still being created"), Next: "Try again in a moment.",
		}
	}
	return record, nil
}

func (l *Launcher) start(ctx context.Context, claim string, why cause) error {
	record, err := l.existing(notStarted, claim)
	if err == nil {
		err = refuseWhileCopying(notStarted, claim, &l.copies, &l.holds)
	}
	if err != nil {
		return err
	}
	if record.State == gpu.Running { // its end may not be known yet
		now, err := l.Engine.Inspect(ctx, record.ContainerID)
		if err == nil && now.State == "paused" {
			err = paused(record)
		}
		if err != nil || now.Running() {
			return err
		}
	}
	f, err := l.footing(ctx, record, why)
	if err != nil {
		l.autoRemove(ctx, record.ContainerID)
		return err
	}
	return l.bringUpOrRemove(ctx, record, f, why)
}

func (l *Launcher) bringUpOrRemove(ctx context.Context, record container.Record, f footing, why cause) error {
	err := l.bringUp(ctx, record, f, why)
	if err != nil {
		l.autoRemove(ctx, record.ContainerID)
	}
	return err
}

// autoRemove removes a container that didn't start and is to go at its end, as
// the engine does: who waits for its removal would wait for ever.
func (l *Launcher) autoRemove(ctx context.Context, id string) {
	o, err := l.Engine.Inspect(ctx, id)
	if err == nil && o.AutoRemove && !o.Running() {
		err = l.Engine.Remove(ctx, id, false)
	}
	if err != nil && !errors.Is(err, problem.ErrNotFound) {
		l.Log.WarnContext(ctx, "container that didn't start not removed", "container", id, "error", err)
	}
}

// bringUp makes everything ready and starts the container.
func (l *Launcher) bringUp(ctx context.Context, record container.Record, f footing, why cause) error {
	if record.State == gpu.Released && record.AsksAgain() {
		if err := l.Ledger.AwaitSight(ctx); err != nil {
			return err
		}
	}
	if err := l.checkPorts(ctx, record); err != nil {
		return err
	}
	if err := l.Ledger.Acquire(ctx, record.ID, f.subject.Limits); err != nil {
		return err
	}
	err := l.beginAnew(ctx, record, why)
	if err == nil {
		err = l.mountAndStart(ctx, record, f)
	}
	if err != nil {
		return l.putBack(ctx, record, err)
	}
	return nil
}

func (l *Launcher) mountAndStart(ctx context.Context, record container.Record, f footing) error {
	f, err := l.withDevices(ctx, f)
	if err != nil {
		return err
	}
	if err := l.fit(ctx, record, f.excess); err != nil {
		return err
	}
	defer l.Registrar.LockVolumes(f.volumes...)()
	if err := l.refuseWhileCovered(notStarted, record.UID, f.volumes); err != nil {
		return err
	}
	if err := l.mountAll(ctx, f.subject, record); err != nil {
		return err
	}
	if err := l.give(ctx, record.ID); err != nil {
		return err
	}
	err = l.Engine.Start(ctx, record.ContainerID)
	if errors.Is(err, problem.ErrNotFound) && l.reconnect(ctx, record, err) {
		err = l.Engine.Start(ctx, record.ContainerID)
	}
	if err == nil && l.Started != nil {
		o := f.made.seen
		o.State, o.StartedAt, o.PID, o.ExitCode = "running", l.Now(), 0, 0
		l.Started(o)
	}
	if bound := f.subject.Limits; err == nil && (!bound.IOReadBPS.Unlimited || !bound.IOWriteBPS.Unlimited) { // nothing holds a new group
		l.slow(ctx, record, bound)
	}
	return err
}

// slow holds a container that runs to its owner's rates of disks: there is no
// group of its own before.
func (l *Launcher) slow(ctx context.Context, record container.Record, bound limits.Limits) {
	if l.Rates == nil {
		return
	}
	err := l.Rates(record.UID, record.ContainerID, record.Folders(), bound)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, problem.ErrUnavailable) { // it may have ended; the limit itself says that nothing holds it
		l.Log.ErrorContext(ctx, "container isn't held to its owner's rates of disks", "container", record.ContainerID, "claim", record.ID, "error", err)
	}
}

// reconnect puts the owner's default network back where a start failed for
// want of it: whoever tidies the engine up takes networks along in which
// nothing runs.
func (l *Launcher) reconnect(ctx context.Context, record container.Record, missing error) bool {
	name := network.DefaultOf(record.UID)
	o, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil || o.Networks[name] == "" || !strings.Contains(missing.Error(), o.Networks[name]) {
		return false
	}
	err = l.Registrar.SettleNetwork(ctx, name) // its end may not be known yet
	if err == nil {
		_, err = l.Registrar.DefaultNetwork(ctx, record.UID, OwnLabels(record.UID))
	}
	if err == nil {
		err = l.Engine.Reconnect(ctx, record.ContainerID, name, []string{record.Name})
	}
	if err != nil {
		l.Log.WarnContext(ctx, "default network not put back", "container", record.ContainerID, "error", err)
	}
	return err == nil
}

// checkPorts refuses a start with ports that aren't the owner's any more:
// ds01.yaml has changed since.
func (l *Launcher) checkPorts(ctx context.Context, record container.Record) error {
	if len(record.Ports) == 0 {
		return nil
	}
	policy, err := l.Registrar.PortPolicy(ctx, record.UID)
	if err != nil {
		return err
	}
	for _, p := range record.Ports {
		if err := policy.Check("Container "+record.Name+" not started", p); err != nil {
			return err
		}
	}
	return nil
}

// putBack puts the claim back to what it was when the container certainly
// doesn't run; otherwise the reconciler finds out.
func (l *Launcher) putBack(ctx context.Context, record container.Record, err error) error {
	now, ierr := l.Engine.Inspect(ctx, record.ContainerID)
	if ierr != nil || now.Running() {
		return err
	}
	if cerr := l.Cleanup(ctx, record); cerr != nil {
		l.Log.ErrorContext(ctx, "claim not put back after a failed start", "claim", record.ID, "error", cerr)
		return err
	}
	back := func(c *container.Record) {
		c.State, c.HeldUntil, c.Restart = record.State, record.HeldUntil, record.Restart
		if record.State != gpu.Released && !slices.Equal(c.Devices, record.Devices) { // it gave those back that it had
			c.State, c.HeldUntil = gpu.Released, time.Time{}
		}
		c.Devices = record.Devices       // those of a start that came to nothing may have been others
		if record.State == gpu.Running { // nobody has seen its end yet
			c.State, c.HeldUntil = gpu.Held, lifecycle.HoldUntil(now.FinishedAt, c.Quota)
		}
	}
	if uerr := l.Ledger.Update(ctx, record.ID, back); uerr != nil {
		l.Log.ErrorContext(ctx, "claim not put back after a failed start", "claim", record.ID, "error", uerr)
	}
	return err
}

// Cleanup takes away what a container that doesn't run needs no longer. An
// engine that was killed while it started a container may say that it doesn't
// run although it does: its processes are ended, and while any is left, which
// is an error, its devices must stay with it. The caller holds its lock or
// knows that it is gone.
func (l *Launcher) Cleanup(ctx context.Context, record container.Record) error {
	l.unmount(ctx, record)
	l.closeDoor(ctx, record)
	if record.ContainerID == "" {
		return nil
	}
	if err := l.takeBack(record); err != nil {
		return err
	}
	ended, err := l.Cgroups.End(ctx, record.UID, record.ContainerID)
	if ended > 0 {
		l.Log.WarnContext(ctx, "processes ended that the engine has lost sight of", "container", record.ContainerID, "claim", record.ID, "processes", ended)
	}
	return err
}

func (l *Launcher) unmount(ctx context.Context, record container.Record) {
	for _, m := range record.Mounts {
		if err := l.Mounter.Unmount(m.HostPath); err != nil {
			l.Log.ErrorContext(ctx, "mount not taken away", "path", m.HostPath, "error", err)
		}
	}
}
