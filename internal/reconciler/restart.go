package reconciler

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
)

// restarts starts containers again when they are due, several side by side: one
// that takes long to start doesn't keep the others waiting.
func (r *Reconciler) restarts(ctx context.Context) error {
	var starts errgroup.Group
	starts.SetLimit(lookers)
	defer starts.Wait() //nolint:errcheck // they return nil
	for {
		var due <-chan time.Time
		if next := r.startDue(ctx, &starts); !next.IsZero() {
			due = time.After(next.Sub(r.Now()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-r.changed:
		}
	}
}

// startDue begins every start that is due, and returns when the next one is;
// the zero time is not before something changes.
func (r *Reconciler) startDue(ctx context.Context, starts *errgroup.Group) (next time.Time) {
	if !r.Up() || r.Ledger.Sighted() != nil {
		return next // what the engine runs isn't known
	}
	for _, record := range r.Ledger.Records() {
		due := record.Restart.Due
		switch {
		case !record.Restarting():
		case r.Now().Before(due):
			if next.IsZero() || due.Before(next) {
				next = due
			}
		case r.begin(record.ID):
			starts.Go(func() error {
				r.startAgain(ctx, record)
				r.finish(record.ID)
				return nil
			})
		}
	}
	return next
}

// begin notes that a start is on its way; one that is already isn't begun.
func (r *Reconciler) begin(claim string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.starting[claim] {
		return false
	}
	r.starting[claim] = true
	return true
}

func (r *Reconciler) finish(claim string) {
	r.mu.Lock()
	delete(r.starting, claim)
	r.mu.Unlock()
	r.wake()
}

// wake has restarts look again at what is due.
func (r *Reconciler) wake() {
	select {
	case r.changed <- struct{}{}:
	default: // it will look anyway
	}
}

func (r *Reconciler) startAgain(ctx context.Context, record container.Record) {
	r.record("start", fmt.Sprintf("its restart policy is %s; start %d since somebody started it", record.Restart.Policy, record.Restart.Count+1), record)
	err := r.Launcher.Again(ctx, record.ID)
	log := r.Log.With("container", record.ContainerID, "claim", record.ID, "policy", record.Restart.Policy.String())
	switch {
	case err == nil:
		log.InfoContext(ctx, "container started again", "times", record.Restart.Count+1)
	case err.Error() != record.Restart.Problem: // said once, not at each try
		log.WarnContext(ctx, "container not started again, it is tried later", "error", err)
	}
}

// ended returns what was decided about a container that has ended, for the
// record.
func (r *Reconciler) ended(ctx context.Context, c *container.Record, o container.Observed) {
	var d lifecycle.Decision
	c.Restart, d = lifecycle.Ended(c.Restart, endOf(o), r.Now())
	if c.Restart.Policy.Wanted() {
		r.Log.InfoContext(ctx, "container ended", "container", o.ID, "claim", c.ID, "exit_code", o.ExitCode, "starts_at", d.At, "reason", d.Reason)
	}
}

func endOf(o container.Observed) lifecycle.End {
	return lifecycle.End{ExitCode: o.ExitCode, Ran: o.FinishedAt.Sub(o.StartedAt)}
}

// revive decides, when ds01 or the engine has come up, which containers that
// don't run are started.
func (r *Reconciler) revive(ctx context.Context) {
	for _, record := range r.Ledger.Records() {
		r.mu.Lock()
		o := r.observed[record.ContainerID]
		r.mu.Unlock()
		if !record.Restart.Policy.Wanted() || o.StartedAt.IsZero() || o.Running() {
			continue
		}
		err := r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
			if c.State != gpu.Held && c.State != gpu.Released {
				return
			}
			var d lifecycle.Decision
			c.Restart, d = lifecycle.Booted(c.Restart, endOf(o), r.Now())
			r.Log.InfoContext(ctx, "container found stopped", "container", o.ID, "claim", c.ID, "starts_at", d.At, "reason", d.Reason)
		})
		if err != nil {
			r.Log.WarnContext(ctx, "container not looked at for a start", "container", record.ContainerID, "error", err)
		}
	}
	r.wake()
}
