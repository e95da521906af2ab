package launcher

import (
	"context"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/quantity"
)

// fitPatience is how long Fit waits for one container: the others wait with it.
const fitPatience = 2 * time.Second

// Fit gives a container that runs what its owner's limits allow now. More holds
// at once, and less of processors, processes and disks; less memory only as far
// as nothing has to be ended for it. One that doesn't run is fitted when it
// starts. changed tells whether anything was.
func (l *Launcher) Fit(ctx context.Context, claim string) (d limits.Deferral, changed bool, err error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	waiting, done := context.WithTimeout(ctx, fitPatience)
	defer done()
	unlock, err := l.Ledger.LockContext(waiting, claim)
	if err != nil {
		return d, false, err
	}
	defer unlock()
	record, ok := l.Ledger.Record(claim)
	if !ok || record.State != gpu.Running {
		return d, false, nil
	}
	who, err := l.Accounts.Lookup(record.UID)
	if err != nil {
		return d, false, err
	}
	subject, err := l.subject("Limits of "+record.Name+" not renewed", who)
	if err != nil {
		return d, false, err
	}
	l.slow(ctx, record, subject.Limits)
	seen, stored, err := l.Engine.Stored(waiting, record.ContainerID)
	if err != nil || !seen.Running() {
		return d, false, err
	}
	config, err := admission.DecodeStored(stored)
	if err != nil {
		return d, false, err
	}
	u := l.allowed(ctx, made{record, seen, config, subject})
	if d, err = l.spare(record, config, &u); err != nil || u.Empty() {
		return d, false, err
	}
	if err := l.remember(ctx, record, config); err != nil {
		return d, false, err
	}
	return l.apply(ctx, record, config, u, d)
}

// allowed returns what fits a container to its owner's limits. Where the site's
// policy doesn't let it have what they allow, it is only lowered.
func (l *Launcher) allowed(ctx context.Context, e made) admission.Update {
	u := e.stored.Fit(e.subject, e.record.Wishes)
	if u.Empty() {
		return u
	}
	judged, _, err := l.reviewExisting(ctx, "Limits of "+e.record.Name+" not raised", policy.ContainerUpdate, e, u)
	if err != nil {
		l.Log.InfoContext(ctx, "container keeps its limits or gets less", "container", e.record.ContainerID, "why", err)
		return e.stored.Fit(e.subject, nil)
	}
	return e.stored.Changing(judged) // what the policy has taken is taken already
}

// spare raises what u lowers memory to, so that nothing has to be ended for it.
func (l *Launcher) spare(record container.Record, config admission.Stored, u *admission.Update) (d limits.Deferral, err error) {
	has, to := config.Memory(), quantity.ByteSize(u.Memory)
	if l.Spare == nil || to <= 0 || has > 0 && to >= has {
		return d, nil
	}
	least, err := l.Spare(record.UID, record.ContainerID, to)
	if err != nil {
		return d, err
	}
	set, d := limits.Lower(has, to, least)
	if set == has {
		u.Memory, u.MemorySwap = 0, 0
		return d, nil
	}
	u.Memory, u.MemorySwap = int64(set), int64(set)+max(u.MemorySwap-u.Memory, 0)
	return d, nil
}

// remember notes what a container has that nobody knows the wishes of, before
// that is lowered, so that it can have it back.
func (l *Launcher) remember(ctx context.Context, record container.Record, config admission.Stored) error {
	if record.Wishes != nil {
		return nil
	}
	wishes := config.Wishes()
	return l.Ledger.Update(ctx, record.ID, func(c *container.Record) { c.Wishes = &wishes })
}

// apply sends an update. On v1 the kernel refuses a limit of memory below what
// is in use by then: all else holds all the same.
func (l *Launcher) apply(ctx context.Context, record container.Record, config admission.Stored, u admission.Update, d limits.Deferral) (limits.Deferral, bool, error) {
	_, err := l.send(ctx, record, u)
	if has := config.Memory(); err != nil && u.Memory > 0 && (has == 0 || u.Memory < int64(has)) {
		l.Log.InfoContext(ctx, "container's memory not lowered yet", "container", record.ContainerID, "to", quantity.ByteSize(u.Memory), "error", err)
		if d.Wanted == 0 {
			d.Wanted = quantity.ByteSize(u.Memory)
		}
		d.For = has
		u.Memory, u.MemorySwap = 0, 0
		_, err = l.send(ctx, record, u)
	}
	if err == nil && !u.Empty() {
		l.Log.InfoContext(ctx, "container fitted to its owner's limits while it runs", "container", record.ContainerID, "claim", record.ID)
	}
	return d, err == nil && !u.Empty(), err
}
