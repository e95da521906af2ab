package allocator

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Due tells the one who calls Cut that it is time to.
func (a *Allocator) Due() <-chan struct{} { return a.cut.due }

// Cut does what is due on the cards: it makes what those wait for who are next
// in the queue, gives back instances that are gone, and folds those that have
// been free for long enough. It
// returns when something more is due, zero where nobody knows. What fails is
// left for the next time.
func (a *Allocator) Cut(ctx context.Context) (next time.Time, err error) {
	a.mu.Lock()
	idle := !a.dynamic() || a.sight != nil
	a.mu.Unlock()
	if idle {
		return time.Time{}, nil
	}
	a.look()
	if err := a.lookAtCards(ctx); err != nil {
		return time.Time{}, err
	}
	err = errors.Join(a.releaseGone(ctx), a.makeForQueue(ctx), a.tidy(ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	stands := a.cut.Policy().Hysteresis
	for _, at := range a.cut.freed {
		if due := at.Add(stands); due.After(a.now()) && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next, err
}

// releaseGone gives back what containers that don't run hold of instances that
// aren't there any more: a reboot takes all of them away. Their starts ask
// again.
func (a *Allocator) releaseGone(ctx context.Context) (err error) {
	for _, r := range a.Records() {
		if a.holdsNothing(r) {
			err = errors.Join(err, a.Update(ctx, r.ID, func(r *container.Record) {
				if r.State == gpu.Held || r.State == gpu.Bound {
					r.State, r.HeldUntil = gpu.Released, time.Time{}
				}
			}))
		}
	}
	return err
}

// holdsNothing reports whether an instance that a stopped container holds is
// gone from a card that answers.
func (a *Allocator) holdsNothing(r container.Record) bool {
	if r.State != gpu.Held && r.State != gpu.Bound {
		return false
	}
	devices, cards := a.devices(), a.cut.List()
	return slices.ContainsFunc(r.Devices, func(g gpu.Grant) bool {
		index, _, instance := strings.Cut(g.Slot, ".")
		answers := slices.ContainsFunc(cards, func(c gpu.Card) bool { return strconv.Itoa(c.Index) == index && c.Problem == "" && c.MIG })
		return instance && answers && !slices.ContainsFunc(devices, func(d gpu.Device) bool { return d.UUID == g.UUID })
	})
}

// makeForQueue cuts cards for those in the queue whose turn it is, one after
// the other.
func (a *Allocator) makeForQueue(ctx context.Context) (err error) {
	failed := map[string]bool{}
	for {
		t, plan, ok := a.nextToMake(failed)
		if !ok {
			return err
		}
		if e := a.makeFor(ctx, t, plan); e != nil {
			failed[t.ID] = true
			err = errors.Join(err, e)
		}
	}
}

// nextToMake returns who is first of those for whom cards must be cut, and
// keeps for them what is to be made.
func (a *Allocator) nextToMake(failed map[string]bool) (gpu.Ticket, gpu.Plan, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.snapshot()
	if len(q.Waiting) == 0 {
		return gpu.Ticket{}, gpu.Plan{}, false
	}
	for _, p := range gpu.Pass(q, a.now()) {
		if len(p.Plan.Steps) > 0 && !failed[p.Ticket.ID] {
			a.beginMaking(p.Ticket.ID, p.Ticket.UID, p.Plan)
			return p.Ticket, p.Plan, true
		}
	}
	return gpu.Ticket{}, gpu.Plan{}, false
}

// makeFor makes what a ticket waits for, and keeps it for its owner. Who left
// meanwhile gets nothing.
func (a *Allocator) makeFor(ctx context.Context, t gpu.Ticket, plan gpu.Plan) error {
	failed := a.carry(ctx, plan, t.Login+", who waits")
	a.mu.Lock()
	defer a.mu.Unlock()
	devices, err := a.endMaking(t.ID, failed)
	if err != nil {
		return err
	}
	now, waits := a.queue.tickets[t.ID]
	if !waits || now.Granted() {
		return nil
	}
	now.Devices, now.Until = grants(devices), a.now().Add(a.queue.site.Hold()).UTC()
	return a.saveTicket(ctx, now)
}

// tidy folds what has been free for long enough, one by one, so that who asks
// meanwhile needn't wait for all.
func (a *Allocator) tidy(ctx context.Context) (err error) {
	a.mu.Lock()
	pool := a.pool()
	plan := gpu.Tidy(pool.Host(), gpu.Keep(pool.Devices, a.reservations(), a.now()), pool.Cutting.Policy, a.now())
	a.mu.Unlock()
	for _, s := range plan.Steps {
		if e := a.cut.Carry(ctx, []gpu.Step{s}, s.Reason); e != nil && !errors.Is(e, problem.ErrConflict) { // somebody got it
			err = errors.Join(err, e)
		}
	}
	return err
}
