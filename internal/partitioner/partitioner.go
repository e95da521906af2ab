// Package partitioner changes what the host's cards are cut into: it carries
// out the steps of a plan against the driver, one at a time, writing down what
// it is about to do, so that ds01 may end at any moment. It plans nothing.
package partitioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A Driver tells about the cards, with what else keeps them from being granted,
// and changes them.
type Driver interface {
	Cards(ctx context.Context) ([]gpu.Card, error)
	Readings(ctx context.Context) (map[string]gpu.Reading, error)
	SetMIGMode(ctx context.Context, cardUUID string, on bool) (resetNeeded bool, err error)
	CreateInstance(ctx context.Context, cardUUID, profile string, start int) (gpu.Instance, error)
	DestroyInstance(ctx context.Context, uuid string) error
}

// A Store remembers what is under way.
type Store interface {
	Repartition(ctx context.Context) (gpu.Work, error)
	SaveRepartition(ctx context.Context, w gpu.Work) error
	Flush() error
}

// A Ledger knows who holds what.
type Ledger interface {
	// AwaitSight returns once it is known what the engine runs.
	AwaitSight(ctx context.Context) error
	// Close keeps a device from being granted until open is called, and
	// returns who holds what from then on: Claims and Taken of the host.
	Close(uuid string) (h gpu.Host, open func())
	// Holds returns who holds what now: Claims and Taken of the host.
	Holds() gpu.Host
	// Withhold keeps a device from being granted until give is called, because
	// nobody knows how it is, and has nobody wait for that.
	Withhold(uuid, why string) (give func())
}

// Parts are what a partitioner works with.
type Parts struct {
	Driver  Driver
	Store   Store
	Ledger  Ledger
	Refresh func(ctx context.Context) error // has the inventory read the cards anew
	Record  func(event.Event)               // writes down what is about to be done, and what failed
	Log     *slog.Logger
	Now     func() time.Time
}

// Partitioner carries out plans, one after the other. It is safe for
// concurrent use.
type Partitioner struct {
	Parts
	turn     chan struct{} // holds a token while somebody works
	settled  bool          // nothing that was begun is left to do; guarded by turn
	withheld []func()      // give back what is withheld; guarded by turn
	late     atomic.Pointer[late]
	again    chan struct{} // a late answer came
}

// New returns a partitioner. What an earlier one left unfinished is done with
// the first Carry or Settle.
func New(p Parts) *Partitioner {
	return &Partitioner{Parts: p, turn: make(chan struct{}, 1), again: make(chan struct{}, 1)}
}

// Carry carries out the steps, in their order; why says what for, in the log
// and after a restart. Right before each step it looks again: one that would
// touch what a claim holds, or a card that somebody uses without a claim, ends
// the plan. A step that is done already is passed over. The inventory knows of
// each step once it is done.
//
// After an error of the driver, or where a step may not be done, those before
// it stay done, which any plan allows, and those behind it are forgotten. When
// ctx ends, the store fails or the driver doesn't answer in time, what is left is
// carried out before anything else, also after a restart. As long as an answer is
// late, nothing is changed: problem.ErrUnavailable. Steps that need a reset of the card are refused,
// all of them, before anything is done.
func (p *Partitioner) Carry(ctx context.Context, steps []gpu.Step, why string) error {
	for _, s := range steps {
		if s.Reset {
			return needsReset(s)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return p.alone(ctx, func() error {
		return p.carry(ctx, gpu.Work{Steps: steps, Why: why, Began: p.Now().UTC()}, nil)
	})
}

// Settle finishes what ds01 was doing to the cards when it ended, as far as
// that is still to be done. It waits until it is known what the engine runs.
func (p *Partitioner) Settle(ctx context.Context) error {
	return p.alone(ctx, func() error { return nil })
}

// patience is how long Run waits before it tries again.
const patience = 10 * time.Second

// Run settles, however often that must be tried, and again when the driver gives
// an answer that was late, until ctx ends.
func (p *Partitioner) Run(ctx context.Context) error {
	for {
		var retry <-chan time.Time
		if err := p.Settle(ctx); err != nil && ctx.Err() == nil {
			if !errors.Is(err, problem.ErrUnavailable) {
				p.Log.ErrorContext(ctx, "not known whether the cards are as they should be", "error", err)
			}
			retry = time.After(patience)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.again:
		case <-retry:
		}
	}
}

// alone does something while nobody else changes the cards, and nothing is
// left of what was begun before.
func (p *Partitioner) alone(ctx context.Context, do func() error) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.Ledger.AwaitSight(ctx); err != nil {
		return err
	}
	if err := p.stillLate(); err != nil {
		return err
	}
	if !p.settled {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return do()
}

// settle finishes what was begun, and gives back what was withheld because of it.
func (p *Partitioner) settle(ctx context.Context) error {
	if err := p.finish(ctx); err != nil || len(p.withheld) == 0 {
		return err
	}
	if err := p.Refresh(ctx); err != nil {
		p.settled = false
		return fmt.Errorf("the cards can't be read: %w", err)
	}
	for _, give := range p.withheld {
		give()
	}
	p.withheld = nil
	return nil
}

// finish finishes what was begun. That it can't be done any more is no error:
// every beginning of a plan leaves the cards whole.
func (p *Partitioner) finish(ctx context.Context) error {
	left, err := p.Store.Repartition(ctx)
	if err != nil {
		return notWritten(err)
	}
	p.settled = true
	if len(left.Steps) == 0 {
		return nil
	}
	p.Log.WarnContext(ctx, "finishing what was begun on the cards", "why", left.Why, "began", left.Began, "steps", len(left.Steps))
	if err := p.carry(ctx, left, nil); !p.settled {
		return err
	} else if err != nil {
		p.Log.WarnContext(ctx, "what was begun on the cards is given up", "why", left.Why, "error", err)
	}
	return nil
}

// carry writes the work down and does it. told, if there is one, hears of each
// step that is done.
func (p *Partitioner) carry(ctx context.Context, w gpu.Work, told func(gpu.Step)) error {
	p.settled = false
	given, ctx := ctx, context.WithoutCancel(ctx) // a step that is begun is ended
	err := p.Store.SaveRepartition(ctx, w)
	if err == nil {
		err = p.Store.Flush()
	}
	if err != nil {
		return notWritten(err)
	}
	for len(w.Steps) > 0 {
		if err := given.Err(); err != nil {
			return fmt.Errorf("%s: %w", w.Steps[0], err)
		}
		step := w.Steps[0]
		failed := p.step(ctx, step, w.Why)
		if errors.Is(failed, errLeft) {
			return failed // it stays written down
		}
		if failed != nil {
			w.Steps = nil
		} else {
			w.Steps = w.Steps[1:]
		}
		if err := p.Store.SaveRepartition(ctx, w); err != nil {
			return errors.Join(failed, notWritten(err))
		}
		if failed == nil && told != nil {
			told(step)
		}
		if failed != nil {
			p.settled = true
			return failed
		}
	}
	p.settled = true
	return nil
}

// step does one step of what why says, if it still may be done.
func (p *Partitioner) step(ctx context.Context, s gpu.Step, why string) error {
	uuid := s.Instance
	if s.Verb != gpu.Destroy {
		uuid = s.CardUUID
	}
	h, open := p.Ledger.Close(uuid)
	if err := p.look(ctx, &h); err != nil {
		open()
		return notDone(s, err)
	}
	if s.Done(h) {
		defer open()
		return p.refresh(ctx, s)
	}
	if blocked := s.Obstacle(h); blocked != "" {
		open()
		return notDone(s, problem.Because(problem.ErrConflict, blocked))
	}
	begin := p.Now()
	changes := event.Event{Action: "gpu cut", Object: s.String(), Why: because(s, why)}
	p.Record(changes)
	_, failed := within(p, changesWithin, s.String(), func() (struct{}, error) { return struct{}{}, p.call(ctx, s) })
	if !errors.Is(failed, errLate) {
		if err := p.refresh(ctx, s); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w (%w)", err, errLeft))
		}
	}
	if failed != nil {
		changes.Decision, changes.Why = event.Failed, failed.Error()
		p.Record(changes)
	}
	if errors.Is(failed, errLeft) {
		p.withheld = append(p.withheld, p.Ledger.Withhold(uuid, "nobody knows yet what became of '"+s.String()+"'"))
		open()
		return notDone(s, failed)
	}
	open()
	if failed != nil {
		return notDone(s, failed)
	}
	p.Log.InfoContext(ctx, "cards changed", "step", s.String(), "why", because(s, why), "took", p.Now().Sub(begin))
	return nil
}

// because is what a step is for, and why it is this one.
func because(s gpu.Step, why string) string {
	if s.Reason == "" || s.Reason == why {
		return why
	}
	return why + ": " + s.Reason
}

// look adds what the driver tells to who holds what.
func (p *Partitioner) look(ctx context.Context, h *gpu.Host) error {
	cards, err := p.cards(ctx)
	if err != nil {
		return err
	}
	readings, err := within(p, answersWithin, "who uses the cards", func() (map[string]gpu.Reading, error) { return p.Driver.Readings(ctx) })
	if err != nil {
		return err
	}
	h.Cards = cards
	taken := gpu.Unexplained(cards, h.Claims, readings)
	maps.Copy(taken, h.Taken)
	h.Taken = taken
	return nil
}

// call has the driver do it.
func (p *Partitioner) call(ctx context.Context, s gpu.Step) error {
	switch s.Verb {
	case gpu.Destroy:
		return p.Driver.DestroyInstance(ctx, s.Instance)
	case gpu.Create:
		_, err := p.Driver.CreateInstance(ctx, s.CardUUID, s.Profile, s.At.Start)
		return err
	case gpu.EnableMIG, gpu.DisableMIG:
		on := s.Verb == gpu.EnableMIG
		wait, err := p.Driver.SetMIGMode(ctx, s.CardUUID, on)
		if err == nil && wait { // it was not to be expected
			_, err = p.Driver.SetMIGMode(ctx, s.CardUUID, !on)
			err = errors.Join(needsReset(s), err)
		}
		return err
	}
	return problem.Because(problem.ErrInvalid, fmt.Sprintf("there is no step %q", s.Verb))
}

func (p *Partitioner) refresh(ctx context.Context, s gpu.Step) error {
	if err := p.Refresh(ctx); err != nil {
		return notDone(s, fmt.Errorf("the cards can't be read: %w", err))
	}
	return nil
}

func needsReset(s gpu.Step) error {
	return &problem.Error{
		What: "Cards not changed",
		Why:  problem.Because(problem.ErrUnavailable, fmt.Sprintf("to %s needs a reset of the card, which ds01 doesn't do", s)),
		Next: fmt.Sprintf("An admin frees card %d, runs 'nvidia-smi -i %d -mig %d' and 'nvidia-smi -i %d --gpu-reset', or reboots.", s.Card, s.Card, onOff(s.Verb == gpu.EnableMIG), s.Card),
	}
}

func onOff(on bool) int {
	if on {
		return 1
	}
	return 0
}

func notDone(s gpu.Step, err error) error {
	next := "Try again; 'ds01 gpu list' shows the cards as they are."
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Next != "" {
		next = p.Next
	}
	return &problem.Error{What: "Cards not changed: " + s.String(), Why: err, Next: next}
}

func notWritten(err error) error {
	return &problem.Error{
		What: "Cards not changed",
		Why:  problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "Tell your administrators that ds01 can't write its database.",
	}
}
