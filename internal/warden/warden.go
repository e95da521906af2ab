// Package warden keeps cards from being granted that must not be: those that an
// administrator drained, those that had an error which the driver tells of once,
// and devices that somebody uses without a claim. It remembers the first two over
// restarts. It ends nothing that runs, and chooses no device.
package warden

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A Store remembers drains and faults over restarts.
type Store interface {
	Drains(ctx context.Context) ([]gpu.Drain, error)
	SaveDrain(ctx context.Context, d gpu.Drain) error
	DeleteDrain(ctx context.Context, card string) error
	Faults(ctx context.Context) ([]gpu.Record, error)
	SaveFault(ctx context.Context, f gpu.Record) error
	DeleteFault(ctx context.Context, f gpu.Fault) error
	Flush() error
}

// Parts are what a warden works with.
type Parts struct {
	Store   Store
	Refresh func(ctx context.Context) error // has the inventory read the cards anew, which calls Mark
	// Watch tells of each error that the driver reports, until ctx ends or the
	// driver can't be listened to any more.
	Watch func(ctx context.Context, tell func(gpu.Fault)) error
	// Readings, Claims, Members and Identify tell what runs on the cards, who
	// holds them, which processes a claim's container has, and who a process is.
	Readings func(ctx context.Context) (map[string]gpu.Reading, error)
	Claims   func() []gpu.Claim
	Members  func(gpu.Claim) map[int]bool
	Identify func(pid int) (user, command string, there bool)
	Allowed  func(pid int) bool      // it may use devices without a claim
	Taken    func(map[string]string) // has devices not be granted, by UUID with the reason
	Boot     string                  // names this run of the host's kernel
	Record   func(event.Event)       // writes down what happened
	Log      *slog.Logger
	Now      func() time.Time
}

// Warden is one host's. It is safe for concurrent use.
type Warden struct {
	Parts

	looking sync.Mutex // held by who looks at processes

	mu     sync.Mutex
	cards  []gpu.Card           // as last marked
	drains map[string]gpu.Drain // by UUID of the card
	faults map[gpu.Fault]gpu.Record

	strangers map[string][]gpu.Stranger // as last seen
	seen      map[sighting]bool         // whether they counted
}

// New reads what was remembered.
func New(ctx context.Context, p Parts) (*Warden, error) {
	w := &Warden{Parts: p, drains: map[string]gpu.Drain{}, faults: map[gpu.Fault]gpu.Record{}}
	drains, err := p.Store.Drains(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range drains {
		w.drains[d.Card] = d
	}
	return w, w.recall(ctx)
}

// Mark tells cards, as the driver told them, what keeps them from being
// granted besides.
func (w *Warden) Mark(ctx context.Context, cards []gpu.Card) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range cards {
		if d, ok := w.drains[cards[i].UUID]; ok {
			cards[i].Drained, cards[i].DrainedAt = d.String(), d.Since
		}
	}
	w.compare(ctx, cards)
	gpu.Blame(cards, w.sorted())
	w.cards = slices.Clone(cards)
}

// Drained is what became of a card.
type Drained struct {
	Card  gpu.Card
	Drain gpu.Drain // zero: it isn't drained
}

// Drain keeps a card, by its UUID or index, and all instances on it from being
// granted, until Undrain. What runs there goes on. Of a card that is drained
// already the reason is changed. Once it returns, nothing more is granted,
// but to administrators what they name to try it, see gpu.Trial.
func (w *Warden) Drain(ctx context.Context, name, reason, by string) (Drained, error) {
	c, err := w.find(name)
	if err != nil {
		return Drained{}, err
	}
	d := gpu.Drain{Card: c.UUID, Reason: reason, By: by, Since: w.Now().UTC()}
	return w.change(ctx, d.Card, &d)
}

// Undrain lets a card be granted again, and forgets the errors that it and its
// instances had: what the driver says of it now goes on to count. One with
// neither a drain nor an error is of kind problem.ErrConflict.
func (w *Warden) Undrain(ctx context.Context, name string) (Drained, error) {
	c, err := w.find(name)
	if err != nil {
		return Drained{}, err
	}
	if c.Drained == "" && !w.faulty(c.UUID) {
		return Drained{}, &problem.Error{
			What: fmt.Sprintf("Card %d not undrained", c.Index), Why: problem.Because(problem.ErrConflict, "it isn't drained, and had no error"),
			Next: "'ds01 gpu list' shows what keeps a card from being granted.",
		}
	}
	return w.change(ctx, c.UUID, nil)
}

// change stores what is said of a card, nil for nothing, and has it take
// effect.
func (w *Warden) change(ctx context.Context, card string, d *gpu.Drain) (Drained, error) {
	if err := w.store(ctx, card, d); err != nil {
		return Drained{}, &problem.Error{
			What: "Card " + card + " not changed", Why: problem.Because(problem.ErrUnavailable, err.Error()),
			Next: "ds01 can't write its database: see its log.",
		}
	}
	if err := w.Refresh(ctx); err != nil {
		return Drained{}, fmt.Errorf("it is written down, but the cards can't be read: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := gpu.FindCard(w.cards, card)
	return Drained{Card: c, Drain: w.drains[card]}, err
}

func (w *Warden) store(ctx context.Context, card string, d *gpu.Drain) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d == nil {
		if err := w.Store.DeleteDrain(ctx, card); err != nil {
			return err
		}
		delete(w.drains, card)
		if err := w.forgive(ctx, card); err != nil {
			return err
		}
		return w.Store.Flush()
	}
	if err := w.Store.SaveDrain(ctx, *d); err != nil {
		return err
	}
	w.drains[card] = *d
	return w.Store.Flush()
}

// IsDrained reports whether an administrator took the card of that UUID out of use.
func (w *Warden) IsDrained(card string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, drained := w.drains[card]
	return drained
}

func (w *Warden) find(name string) (gpu.Card, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return gpu.FindCard(w.cards, name)
}
