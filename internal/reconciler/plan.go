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

// The shortest and the longest time between two looks at what is due: many
// changes need one look, and a clock may have been set.
const (
	planAfter = time.Second
	planEvery = 30 * time.Second
)

// plans does what is due when it is due.
func (r *Reconciler) plans(ctx context.Context) error {
	for {
		due := time.NewTimer(r.carryOut(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(planAfter):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		case <-r.Ledger.Changed():
		}
	}
}

// carryOut does what lifecycle says is due, and returns how long nothing else
// is if nothing changes.
func (r *Reconciler) carryOut(ctx context.Context) time.Duration {
	if !r.Up() {
		return planAfter // what the engine holds can't be looked up
	}
	if r.KeepTime != nil {
		r.KeepTime(ctx)
	}
	records, next := r.Ledger.Records(), planEvery
	for _, a := range lifecycle.Plan(records, r.Now()) {
		if err := r.act(ctx, a); err != nil {
			r.Log.ErrorContext(ctx, "lifecycle action failed", "claim", a.Claim, "verb", string(a.Verb), "error", err)
			next = planAfter
		}
	}
	r.noteAilments(ctx, records)
	r.mend(ctx, records)
	now, due := r.Now(), r.advance(ctx)
	if due.After(now) {
		next = min(next, due.Sub(now))
	}
	for _, record := range records {
		if due := lifecycle.Due(record); due.After(now) {
			next = min(next, due.Sub(now))
		}
	}
	return next
}

// actTimeout bounds one action: the others wait for it.
const actTimeout = 30 * time.Second

func (r *Reconciler) act(ctx context.Context, a lifecycle.Action) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	unlock, err := r.Ledger.LockContext(ctx, a.Claim)
	if err != nil {
		return err
	}
	defer unlock()
	record, ok := r.Ledger.Record(a.Claim)
	if due := lifecycle.Due(record); !ok || due.IsZero() || r.Now().Before(due) {
		return nil // something happened since
	}
	r.Log.InfoContext(ctx, "claim", "verb", string(a.Verb), "claim", a.Claim, "reason", a.Reason)
	if a.Verb == lifecycle.Forget {
		return r.giveUp(ctx, record, a.Reason)
	}
	r.record(string(a.Verb), a.Reason, record)
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Update(ctx, a.Claim, func(c *container.Record) { c.State, c.HeldUntil = gpu.Released, time.Time{} })
}

// giveUp drops a pending claim, unless the engine has its container after all.
// The caller holds the claim's lock.
func (r *Reconciler) giveUp(ctx context.Context, record container.Record, reason string) error {
	o, err := r.Engine.ByClaim(ctx, record.ID)
	switch {
	case err == nil && record.HalfMade():
		return r.discard(ctx, record, o)
	case err == nil:
		return r.bind(ctx, &record, o)
	case !errors.Is(err, problem.ErrNotFound):
		return err
	}
	r.record("forget", reason, record)
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Forget(ctx, record.ID)
}
