package launcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

const (
	notAdded    = "GPU not added"
	notReleased = "GPU not released"
)

// changing is a container whose devices are about to change.
type changing struct {
	record container.Record
	seen   container.Observed
	what   string // isn't done where something is in the way
}

// change looks at a container whose devices are to change, and refuses where they
// can't. The caller holds its lock.
func (l *Launcher) change(ctx context.Context, claim, what string) (c changing, err error) {
	c.what = what
	if c.record, err = l.existing(what, claim); err == nil {
		err = refuseWhileCopying(what, claim, &l.copies, &l.holds)
	}
	if err != nil {
		return c, err
	}
	if !c.record.AtStart {
		return c, c.refuse(problem.ErrConflict, c.record.Name+" was made without a GPU, or with the very devices that it has",
			"Make it anew with --gpus; 'ds01 doctor' says whether containers here get their GPUs at each start.")
	}
	if c.seen, err = l.Engine.Inspect(ctx, c.record.ContainerID); err != nil {
		return c, err
	}
	if !c.seen.Running() && c.record.State != gpu.Running {
		return c, nil
	}
	if c.seen.State != "running" || c.record.State != gpu.Running {
		return c, c.refuse(problem.ErrConflict, c.record.Name+" is "+c.seen.State, "Try again in a moment; one that is paused must go on first.")
	}
	if err := l.Live.Possible(); err != nil {
		return c, c.refuse(problem.ErrUnavailable, err.Error(), "Stop it first: what it is to have is given to it when it starts.")
	}
	return c, nil
}

func (c changing) refuse(kind error, why, next string) error {
	return &problem.Error{What: c.what, Why: problem.Because(kind, why), Next: next}
}

func (c changing) running() bool { return c.seen.Running() }

// AddDevices grants a container devices beside those that it has. One that runs
// opens them at once, another when it is started.
//
// What is stored comes first: a crash leaves a device that is held and not open,
// which SettleDevices makes good.
func (l *Launcher) AddDevices(ctx context.Context, claim string, want gpu.Request) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	c, err := l.change(ctx, claim, notAdded)
	if err != nil {
		return err
	}
	who, err := l.Accounts.Lookup(c.record.UID)
	if err != nil {
		return err
	}
	if err := MayHold(notAdded, who, l.Roles(who)); err != nil {
		return err
	}
	if err := l.Ledger.AwaitSight(ctx); err != nil {
		return err
	}
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return l.extend(ctx, c, who, want)
}

func (l *Launcher) extend(ctx context.Context, c changing, who account.Account, want gpu.Request) error {
	after, err := l.Ledger.Extend(ctx, c.record.ID, want, l.Limits(who))
	if err != nil {
		return err
	}
	err = l.mayHave(ctx, c, after, who)
	if err == nil && c.running() {
		err = l.align(ctx, after, c.seen, uuidsOf(c.record))
	}
	if err != nil {
		return errors.Join(err, l.retract(ctx, c, after))
	}
	recorder.Note(ctx, func(e *event.Event) { e.Devices = after.Slots() })
	return nil
}

// mayHave has the site's own rules judge a container with the devices that it is
// to have.
func (l *Launcher) mayHave(ctx context.Context, c changing, after container.Record, who account.Account) error {
	s, err := l.subject(c.what, who)
	if err != nil {
		return err
	}
	return l.judgeDevices(ctx, after, s)
}

// retract gives back what could not be added.
func (l *Launcher) retract(ctx context.Context, c changing, after container.Record) error {
	if c.running() {
		if err := l.takeAway(ctx, c.record, after, c.seen); err != nil {
			return err // it is held, and nobody else's
		}
		if err := l.Grants.Give(c.record.ContainerID, l.devicesOf(c.record)); err != nil {
			return err
		}
	}
	return l.Ledger.Update(ctx, c.record.ID, func(r *container.Record) {
		r.Devices, r.Asked, r.Since = c.record.Devices, c.record.Asked, c.record.Since
	})
}

// ReleaseDevices takes devices from a container, named by slot or UUID; none means
// all. In one that runs, processes that have them open are ended with force, and
// are a refusal without.
//
// The file comes first, then the rule, then the claim: while the claim holds a device
// nobody else gets it, and after a crash SettleDevices gives it back.
func (l *Launcher) ReleaseDevices(ctx context.Context, claim string, names []string, force bool) error {
	return l.giveUp(ctx, claim, names, force, l.Ledger.Release)
}

// TakeDevices takes all devices from a container, which runs on but for processes
// that have one open, and asks for them again when it is started next.
func (l *Launcher) TakeDevices(ctx context.Context, claim string) error {
	return l.giveUp(ctx, claim, nil, true, l.Ledger.Take)
}

func (l *Launcher) giveUp(
	ctx context.Context, claim string, names []string, force bool, settle func(ctx context.Context, claim string, uuids []string) (container.Record, error),
) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	c, err := l.change(ctx, claim, notReleased)
	if err != nil {
		return err
	}
	uuids, err := c.named(names)
	if err != nil {
		return err
	}
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	if c.running() {
		if err := l.close(ctx, c, uuids, force); err != nil {
			return err
		}
	}
	after, err := settle(ctx, claim, uuids)
	if err == nil {
		recorder.Note(ctx, func(e *event.Event) { e.Devices = after.Slots() })
	}
	return err
}

// named returns the UUIDs of the container's devices that names mean.
func (c changing) named(names []string) (uuids []string, err error) {
	if len(c.record.Devices) == 0 {
		return nil, c.refuse(problem.ErrConflict, c.record.Name+" has no GPU", "'container list' shows what yours have.")
	}
	for _, g := range c.record.Devices {
		if len(names) == 0 || slices.Contains(names, g.UUID) || slices.Contains(names, g.Slot) {
			uuids = append(uuids, g.UUID)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(c.record.Devices, func(g gpu.Grant) bool { return g.UUID == name || g.Slot == name }) {
			return nil, c.refuse(problem.ErrNotFound, fmt.Sprintf("%s has no device %s; it has %s", c.record.Name, name, strings.Join(c.record.Slots(), ", ")), "Name one of these with --device.")
		}
	}
	return uuids, nil
}

// close makes sure that no process of a running container has the devices open, or
// can open them.
func (l *Launcher) close(ctx context.Context, c changing, uuids []string, force bool) error {
	after := c.record
	after.Devices = slices.DeleteFunc(slices.Clone(c.record.Devices), func(g gpu.Grant) bool { return slices.Contains(uuids, g.UUID) })
	if err := l.Grants.Give(c.record.ContainerID, l.devicesOf(after)); err != nil {
		return err
	}
	err := l.takeAway(ctx, after, c.record, c.seen)
	if err == nil {
		err = l.noneOpens(ctx, c, l.nodesBeyond(after, c.record), force)
	}
	if err != nil { // it holds them still
		return errors.Join(err, l.align(ctx, c.record, c.seen, uuidsOf(after)))
	}
	for _, n := range l.nodesBeyond(after, c.record) {
		if err := l.Live.Hide(c.record.UID, c.seen, n); err != nil { // it can't be opened
			l.Log.WarnContext(ctx, "node not taken out of a container", "container", c.record.ContainerID, "node", n.Name, "error", err)
		}
	}
	return nil
}

// noneOpens looks in the container for all the nodes, and in the person's others,
// to which a descriptor may have been handed, for those that aren't theirs as well.
func (l *Launcher) noneOpens(ctx context.Context, c changing, nodes []gpu.Node, force bool) error {
	uid, id, alone := c.record.UID, c.record.ContainerID, l.notOfOthers(c.record, nodes)
	if force {
		if err := l.Live.EndOpeners(ctx, uid, id, nodes); err != nil {
			return err
		}
		return l.Live.EndOpeners(ctx, uid, "", alone)
	}
	openers, err := l.Live.Openers(uid, id, nodes)
	if err != nil {
		return err
	}
	more, err := l.Live.Openers(uid, "", alone)
	if err != nil {
		return err
	}
	for _, o := range more {
		if !slices.Contains(openers, o) {
			openers = append(openers, o)
		}
	}
	if len(openers) == 0 {
		return nil
	}
	words := make([]string, len(openers))
	for i, o := range openers {
		words[i] = fmt.Sprintf("%s (process %d)", o.Name, o.PID)
	}
	return &problem.Error{
		What: c.what, Why: problem.Because(problem.ErrConflict, "it is open, in this container or another of its owner's: "+strings.Join(words, ", ")),
		Next: "End these programs, or have them ended: --force.", Code: "DEVICE_IN_USE",
	}
}

// notOfOthers returns the nodes that no other container of the person's has: the
// instances of a card share its node, and all devices the driver's own.
func (l *Launcher) notOfOthers(record container.Record, nodes []gpu.Node) []gpu.Node {
	var theirs []gpu.Node
	for _, r := range l.Ledger.Records() {
		if r.UID == record.UID && r.ID != record.ID && r.State != gpu.Released {
			theirs = append(theirs, gpu.Nodes(l.devicesOf(r))...)
		}
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n gpu.Node) bool { return slices.Contains(theirs, n) })
}

// nodesBeyond returns the nodes of more's devices that none of less's has: control
// nodes are shared.
func (l *Launcher) nodesBeyond(less, more container.Record) []gpu.Node {
	kept := gpu.Nodes(l.devicesOf(less))
	return slices.DeleteFunc(gpu.Nodes(l.devicesOf(more)), func(n gpu.Node) bool { return slices.Contains(kept, n) })
}

// takeAway keeps a running container from opening what more has and less hasn't.
func (l *Launcher) takeAway(ctx context.Context, less, more container.Record, o container.Observed) error {
	for _, n := range l.nodesBeyond(less, more) {
		if err := l.Live.Deny(ctx, more.UID, o, n); err != nil {
			return err
		}
	}
	return nil
}

// align lets a running container open what its record holds beyond what it was
// given, and writes that down last.
func (l *Launcher) align(ctx context.Context, record container.Record, o container.Observed, given []string) error {
	had := record
	had.Devices = slices.DeleteFunc(slices.Clone(record.Devices), func(g gpu.Grant) bool { return !slices.Contains(given, g.UUID) })
	for _, n := range l.nodesBeyond(had, record) {
		if err := l.Live.Allow(ctx, record.UID, o, n); err != nil {
			return err
		}
	}
	return l.Grants.Give(record.ContainerID, l.devicesOf(record))
}

// SettleDevices finishes for a running container what a crash has left half done:
// it opens what its claim holds. The caller holds its lock.
func (l *Launcher) SettleDevices(ctx context.Context, record container.Record, o container.Observed) error {
	if !record.AtStart || o.State != "running" {
		return nil
	}
	given, err := l.Grants.Given(o.ID)
	if err != nil || given == nil { // it was started past ds01
		return err
	}
	if slices.Equal(slices.Sorted(slices.Values(given)), slices.Sorted(slices.Values(uuidsOf(record)))) {
		return nil
	}
	if err := l.Live.Possible(); err != nil {
		return err
	}
	l.Log.InfoContext(ctx, "container's devices were half changed, opening what it holds", "container", o.ID, "claim", record.ID)
	return l.align(ctx, record, o, given)
}

func uuidsOf(record container.Record) []string {
	uuids := make([]string, len(record.Devices))
	for i, g := range record.Devices {
		uuids[i] = g.UUID
	}
	return uuids
}
