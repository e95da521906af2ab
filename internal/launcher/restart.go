package launcher

import (
	"context"
	"errors"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
)

// Again starts a container that is due to be started again, or does nothing
// where it isn't any more. What keeps it from starting is noted with it, and it
// is due again later.
func (l *Launcher) Again(ctx context.Context, claim string) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, ok := l.Ledger.Record(claim)
	if !ok || !record.Restarting() || l.Now().Before(record.Restart.Due) {
		return nil // something happened since
	}
	before := func(c *container.Record) { c.Restart = lifecycle.Starting(c.Restart, l.Now()) }
	if err := l.Ledger.Update(ctx, claim, before); err != nil {
		return err
	}
	err := l.start(ctx, claim, byPolicy)
	if err == nil {
		return nil
	}
	uerr := l.Ledger.Update(ctx, claim, func(c *container.Record) {
		if c.State != gpu.Running { // then nobody knows whether it started, and it is looked up
			c.Restart = lifecycle.NotStarted(c.Restart, err.Error(), l.Now())
		}
	})
	if uerr != nil && !errors.Is(uerr, problem.ErrNotFound) {
		return errors.Join(err, uerr)
	}
	return err
}

// Halt notes that a container is ended on purpose, so that its restart policy
// leaves it alone. It comes before the end itself, and waits for a start that
// is on its way.
func (l *Launcher) Halt(ctx context.Context, claim string) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, ok := l.Ledger.Record(claim)
	if !ok || record.Restart == lifecycle.Halted(record.Restart) {
		return nil
	}
	err := l.Ledger.Update(ctx, claim, func(c *container.Record) { c.Restart = lifecycle.Halted(c.Restart) })
	if err == nil || record.Restart.Policy.Wanted() {
		return err
	}
	// Nothing starts it again, and a full disk keeps nobody from ending it.
	l.Log.WarnContext(ctx, "container's end not noted", "claim", claim, "error", err)
	return nil
}

// beginAnew forgets, when somebody starts a container, how often its policy
// did, that it was stopped, and what was ended in it for want of memory.
func (l *Launcher) beginAnew(ctx context.Context, record container.Record, why cause) error {
	if why == byPolicy || record.Restart == record.Restart.Fresh() && record.Killed == nil {
		return nil
	}
	return l.Ledger.Update(ctx, record.ID, func(c *container.Record) { c.Restart, c.Killed = c.Restart.Fresh(), nil })
}
