package reconciler

import (
	"context"
	"errors"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
)

// copyPatience is how long a look at a container waits for those who copy its
// files. What was missed meanwhile, the next glance finds.
const copyPatience = time.Second

// tryObserve looks at one container of many: what is wrong with it alone is
// logged and keeps nobody else waiting. One that ds01 doesn't know either may
// reach anything then.
func (r *Reconciler) tryObserve(ctx context.Context, listed container.Observed) error {
	err := r.observeSoon(ctx, listed.ID, begin)
	if err == nil || errors.Is(err, problem.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	r.Log.WarnContext(ctx, "container not looked up", "container", listed.ID, "error", err)
	if _, known := r.Ledger.ByContainer(listed.ID); !known && listed.State != "" && !errors.Is(err, errBusy) {
		listed.Hints = gpu.Hints{All: true}
		r.quarantine(listed)
	}
	return nil
}

// lookTimeout bounds a look at one container. An engine may have lost one of
// its locks, and then never says anything about that container again.
const lookTimeout = 5 * time.Second

func (r *Reconciler) inspect(ctx context.Context, id string) (container.Observed, error) {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	o, err := r.Engine.Inspect(look, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.silent, id)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		r.silent[id] = true
	}
	return o, err
}

// Observe looks at one container and brings its record in step.
//
// Several may look at one container at the same time, and none of them knows
// how old its answer is: they take turns by the container's id, before its
// claim, which not every container has.
func (r *Reconciler) Observe(ctx context.Context, id string) error {
	return r.observe(ctx, ctx, id, begin)
}

// begin is for a look that is always needed.
func begin() (needless func() bool) { return func() bool { return false } }

// turnPatience is how long who looks at many containers waits for its turn at
// one: whoever has it may be waiting for the engine's word about that one.
const turnPatience = 5 * time.Second

// observeSoon is observe for who looks at many.
func (r *Reconciler) observeSoon(ctx context.Context, id string, begin func() (needless func() bool)) error {
	turn, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	return r.observe(ctx, turn, id, begin)
}

// errBusy is why a container wasn't looked at. What was missed, the next glance
// finds.
var errBusy = problem.Because(problem.ErrConflict, "something else was being done with it for as long as could be waited")

// observe waits for its turn as long as that lasts, calls begin when nobody else
// looks, and needless when nobody does anything with the container.
func (r *Reconciler) observe(ctx, turn context.Context, id string, begin func() (needless func() bool)) error {
	unlock, err := r.Ledger.LockContext(turn, id)
	needless := begin()
	if err != nil {
		return errBusy
	}
	defer unlock()
	claim, err := r.claimOf(ctx, id)
	if err != nil || claim == "" {
		return err
	}
	unlock, err = r.Ledger.LockContext(turn, claim)
	if err != nil {
		return errBusy
	}
	defer unlock()
	if needless() || !r.Launcher.AwaitCopies(ctx, claim, copyPatience) {
		return nil // a container that is copied stands still, and the engine tells nobody about it
	}
	o, err := r.inspect(ctx, id)
	if errors.Is(err, problem.ErrNotFound) {
		return r.forget(ctx, id)
	}
	if err != nil {
		return err
	}
	record, ok := r.Ledger.Record(claim)
	if !ok {
		r.quarantine(o)
		return nil
	}
	if record.ContainerID == "" && record.HalfMade() {
		return r.discard(ctx, record, o)
	}
	if record.ContainerID == "" {
		if err := r.bind(ctx, &record, o); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.observed[id] = o
	delete(r.quarantined, id)
	delete(r.young, id)
	r.mu.Unlock()
	if err := r.Launcher.Align(ctx, record, o); err != nil {
		r.Log.WarnContext(ctx, "container has another name at the engine", "container", id, "name", o.Name, "error", err)
	}
	if err := r.Registrar.FoundVolumes(ctx, record.UID, o.Volumes); err != nil {
		return err
	}
	return r.follow(ctx, record, o)
}

// claimOf returns the claim a container belongs to: by the ledger, else by
// the label of a create that was not answered. "" means that it is none of
// ours, and is quarantined by now, or gone.
func (r *Reconciler) claimOf(ctx context.Context, id string) (string, error) {
	if record, ok := r.Ledger.ByContainer(id); ok {
		return record.ID, nil
	}
	o, err := r.inspect(ctx, id)
	if errors.Is(err, problem.ErrNotFound) {
		return "", r.forget(ctx, id)
	}
	if err != nil {
		return "", err
	}
	if record, ok := r.Ledger.Record(o.ClaimID()); ok && (record.ContainerID == "" || record.ContainerID == id) {
		return record.ID, nil
	}
	if step, err := r.step(ctx, o); step || err != nil {
		return "", err
	}
	r.quarantine(o)
	return "", nil
}

// bind ties a pending claim to the container that was made for it after all.
func (r *Reconciler) bind(ctx context.Context, record *container.Record, o container.Observed) error {
	r.Log.InfoContext(ctx, "container found again by its claim", "claim", record.ID, "container", o.ID)
	r.record("bind", "the engine made container "+o.ID+" for it, though its answer was lost", *record)
	return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
		c.ContainerID, c.State, c.HeldUntil = o.ID, gpu.Bound, lifecycle.CreatedUntil(c.CreatedAt)
		*record = *c
	})
}

// discard removes a container whose making was cut short, and its claim.
func (r *Reconciler) discard(ctx context.Context, record container.Record, o container.Observed) error {
	r.Log.WarnContext(ctx, "container was only half made, removing it", "claim", record.ID, "container", o.ID)
	r.record("discard", "container "+o.ID+" was only half made", record)
	if err := r.Remove(ctx, o.ID); err != nil && !errors.Is(err, problem.ErrNotFound) {
		return err
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Forget(ctx, record.ID)
}

// forget drops the record of a container that is gone.
func (r *Reconciler) forget(ctx context.Context, id string) error {
	r.mu.Lock()
	delete(r.observed, id)
	delete(r.young, id)
	delete(r.silent, id)
	_, foreign := r.quarantined[id]
	delete(r.quarantined, id)
	r.mu.Unlock()
	if foreign {
		r.countTaken()
	}
	record, ok := r.Ledger.ByContainer(id)
	if !ok {
		return nil
	}
	r.record("forget", "its container is gone", record)
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Forget(ctx, record.ID)
}

// follow brings the record in step with what the container does. The caller
// holds the claim's lock.
func (r *Reconciler) follow(ctx context.Context, record container.Record, o container.Observed) error {
	switch {
	case o.Running():
		return r.followRunning(ctx, record, o)
	case o.State == "created" && record.State == gpu.Running: // its start was not answered, and came to nothing
		if err := r.Launcher.Cleanup(ctx, record); err != nil {
			return err
		}
		return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
			c.State, c.HeldUntil = gpu.Bound, lifecycle.CreatedUntil(r.Now())
		})
	case o.State == "created" || o.State == "removing":
		return nil
	case record.State != gpu.Running && record.State != gpu.Bound:
		return nil
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	defer r.wake()
	return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
		c.State, c.HeldUntil = gpu.Held, lifecycle.HoldUntil(r.heldSince(o), c.Quota)
		if len(c.Devices) == 0 && c.AsksAgain() { // they were taken
			c.State, c.HeldUntil = gpu.Released, time.Time{}
		}
		r.ended(ctx, c, o)
	})
}

// heldSince returns since when a container that has ended is held: what ended before
// ds01 looked, as when the machine was switched off, is held from then on.
func (r *Reconciler) heldSince(o container.Observed) time.Time {
	if o.FinishedAt.Before(r.began) {
		return r.began
	}
	return o.FinishedAt
}

// errPast is why what was started past ds01 has none of the devices that it would
// have been granted.
var errPast = problem.Because(problem.ErrConflict, "it was started past ds01, which gives it its devices when it starts")

// followRunning makes sure that what runs holds its devices, also when it was
// started past ds01. One whose devices went to somebody else is stopped: a
// GPU never has two owners.
func (r *Reconciler) followRunning(ctx context.Context, record container.Record, o container.Observed) error {
	if o.State == "running" {
		if err := r.Launcher.Thaw(record); err != nil {
			r.Log.WarnContext(ctx, "container may be frozen", "container", o.ID, "error", err)
		}
	}
	if record.State == gpu.Running {
		return r.Launcher.SettleDevices(ctx, record, o)
	}
	bound, err := r.Limits(record.UID)
	if err != nil {
		return err
	}
	if record.AtStart && record.State == gpu.Released && record.AsksAgain() {
		err = errPast
	} else if err = r.Ledger.Acquire(ctx, record.ID, bound); err == nil {
		return nil
	}
	r.Log.ErrorContext(ctx, "container runs without its devices, stopping it", "container", o.ID, "claim", record.ID, "error", err)
	r.record("stop", "it runs without its devices, since "+o.StartedAt.UTC().Format(time.RFC3339Nano)+": "+err.Error(), record)
	return r.Stop(ctx, o.ID)
}
