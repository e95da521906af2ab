package launcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// AwaitTurn waits in the queue for what a request was refused for want of, for
// as long as wait and ctx allow; refused is that refusal, and comes back where
// no wait helps. nil means that devices are kept for the request, which is to
// be made again.
func (l *Launcher) AwaitTurn(ctx context.Context, r Request, wait time.Duration, refused error) error {
	if wait <= 0 || !allocator.Waitable(refused) {
		return refused
	}
	ask, err := r.Body.Ask()
	if err != nil || ask.GPU == nil {
		return refused
	}
	return l.await(ctx, allocator.Wish{Account: r.Account, Limits: l.Limits(r.Account), Request: *ask.GPU}, wait, refused)
}

// AwaitStart waits in the queue for the devices of a container that gave them
// back, for as long as wait and ctx allow. nil means that its start may do: its
// devices are free or kept for it, or it needs none. Otherwise the start will
// be refused for want of them, unless they have become free since.
func (l *Launcher) AwaitStart(ctx context.Context, claim string, wait time.Duration) error {
	record, ok := l.Ledger.Record(claim)
	if wait <= 0 || !ok || record.State != gpu.Released || len(record.Devices) == 0 {
		return nil
	}
	if err := l.Ledger.AwaitSight(ctx); err != nil {
		return err
	}
	who, err := l.Accounts.Lookup(record.UID)
	if err != nil {
		return err
	}
	w := allocator.Wish{Account: who, Limits: l.Limits(who), Claim: claim}
	refused := l.Ledger.SupposeAcquire(record, w.Limits)
	if !allocator.Waitable(refused) {
		return refused
	}
	return l.await(ctx, w, wait, refused)
}

// await takes a place for a wish and leaves it when the wait is over. A place
// that its owner has taken for the container before stays theirs.
func (l *Launcher) await(ctx context.Context, w allocator.Wish, wait time.Duration, refused error) error {
	t, err := l.Ledger.Join(ctx, w)
	stays := false
	if err != nil {
		if t, stays = l.placeOf(w.Claim); !stays {
			return refused // what it said is closer to what was asked for
		}
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t, err = l.Ledger.AwaitGrant(until, t.UID, t.ID)
	if err == nil && t.Granted() && ctx.Err() == nil {
		return nil
	}
	position := l.position(t.ID)
	if !stays {
		if left := l.Ledger.Leave(context.WithoutCancel(ctx), t.UID, t.ID); err == nil && !errors.Is(left, problem.ErrNotFound) {
			err = left
		}
	}
	if err != nil || ctx.Err() != nil {
		return errors.Join(refused, err)
	}
	return &problem.Error{
		What: "GPU not granted",
		Why: problem.Because(problem.ErrExhausted, fmt.Sprintf("none became free for you within %s; you were number %d in the queue",
			quantity.FormatDuration(wait), position)),
		Next: "Take a place that stays with 'ds01 gpu queue join', or try again later; 'ds01 gpu queue' shows who is ahead.",
		Code: allocator.NotAvailable,
	}
}

// placeOf returns the place that somebody has taken for a container.
func (l *Launcher) placeOf(claim string) (gpu.Ticket, bool) {
	for _, s := range l.Ledger.Queue() {
		if claim != "" && s.Ticket.Claim == claim {
			return s.Ticket, true
		}
	}
	return gpu.Ticket{}, false
}

// position returns where a ticket stands.
func (l *Launcher) position(id string) int {
	for _, s := range l.Ledger.Queue() {
		if s.Ticket.ID == id {
			return s.Position
		}
	}
	return 0
}
