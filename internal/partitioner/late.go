package partitioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// How long the driver may take to say how the cards are, and to change one. A call
// can't be broken off: a card that is ill may keep one for ever.
const (
	answersWithin = 10 * time.Second
	changesWithin = time.Minute
)

var (
	// errLeft marks a step of which nobody knows whether it was done: it stays
	// written down.
	errLeft = errors.New("what was begun is finished or given up once the driver answers")
	// errLate is that of a call which goes on.
	errLate = fmt.Errorf("%w, %w", errLeft, problem.ErrUnavailable)
)

// A late call is one that the driver didn't end in time.
type late struct {
	what  string
	since time.Time
	ended chan struct{}
}

// within returns what the driver answers. A call that takes too long goes on by
// itself, and is an errLate; until it has ended, nothing else is asked.
func within[T any](p *Partitioner, limit time.Duration, what string, do func() (T, error)) (answer T, err error) {
	call := &late{what: what, since: p.Now(), ended: make(chan struct{})}
	var given T
	var failed error
	go func() {
		given, failed = do()
		close(call.ended)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-call.ended:
		return given, failed
	case <-timer.C:
	}
	p.late.Store(call)
	go func() {
		<-call.ended
		select {
		case p.again <- struct{}{}:
		default:
		}
	}()
	return answer, call.error(limit)
}

// stillLate is the error of a call that hasn't ended yet, nil where there is none.
func (p *Partitioner) stillLate() error {
	call := p.late.Load()
	if call == nil {
		return nil
	}
	select {
	case <-call.ended:
		p.late.CompareAndSwap(call, nil)
		return nil
	default:
		return call.error(p.Now().Sub(call.since))
	}
}

func (l *late) error(after time.Duration) error {
	return &problem.Error{
		What: "Cards not changed",
		Why:  problem.Because(errLate, fmt.Sprintf("the GPU driver has not answered for %s (%s)", after.Round(time.Second), l.what)),
		Next: "ds01 goes on when it answers. Tell your administrators: 'nvidia-smi' and 'journalctl -k' show more, and a reboot may be needed.",
	}
}

func (p *Partitioner) cards(ctx context.Context) ([]gpu.Card, error) {
	return within(p, answersWithin, "how the cards are", func() ([]gpu.Card, error) { return p.Driver.Cards(ctx) })
}
