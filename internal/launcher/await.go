package launcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/problem"
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
	t, err := l.Ledger.Join(ctx, allocator.Wish{Account: r.Account, Limits: l.Limits(r.Account), Request: *ask.GPU})
	if err != nil {
		return refused // what it said is closer to what was asked for
	}
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t, err = l.Ledger.AwaitGrant(until, t.UID, t.ID)
	if err == nil && t.Granted() && ctx.Err() == nil {
		return nil
	}
	position := l.position(t.ID)
	if left := l.Ledger.Leave(context.WithoutCancel(ctx), t.UID, t.ID); err == nil && !errors.Is(left, problem.ErrNotFound) {
		err = left
	}
	if err != nil || ctx.Err() != nil {
		return errors.Join(refused, err)
	}
	return &problem.Error{
		What: "GPU not granted",
		Why:  problem.Because(problem.ErrExhausted, fmt.Sprintf("none became free for you within %s; you were number %d in the queue", wait, position)),
		Next: "Take a place that stays with 'ds01 gpu queue join', or try again later; 'ds01 gpu queue' shows who is ahead.",
		Code: allocator.NotAvailable,
	}
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
