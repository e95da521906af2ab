package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/gpu"
)

// shape is how the site wants its cards cut. It is safe for concurrent use.
type shape struct {
	d *daemon

	mu     sync.Mutex
	of     string // what the tables were made of
	tables gpu.Tables
	mix    gpu.Mix
}

// cards are the host's as the allocator may have them cut.
func (d *daemon) cards() allocator.Cards {
	s := &shape{d: d}
	d.shape = s
	return allocator.Cards{
		List: d.inventory.Cards, Policy: s.policy, Carry: d.partitioner.Carry,
		Readings: func(ctx context.Context) (map[string]gpu.Reading, error) {
			return d.inventory.Readings(ctx, time.Now())
		},
	}
}

// policy is what ds01.yaml says, with the tables of the cards where they are
// needed. ds01 resets no card.
func (s *shape) policy() gpu.Policy {
	mode, stands := s.d.settings.config().GPU.MIG.Keeps()
	p := gpu.Policy{Mode: mode, KeepFull: s.d.settings.config().GPU.MIG.KeepFull, Hysteresis: stands}
	if mode == gpu.MIGDynamic {
		p.Tables = s.tablesOf(s.d.inventory.Cards())
	}
	return p
}

// learn works out what people ask for: what they used, else what ds01.yaml
// says, else what any lab does. The ledger must not be locked.
func (s *shape) learn() {
	cards, mix := s.d.inventory.Cards(), gpu.Mix(nil)
	if i := slices.IndexFunc(cards, func(c gpu.Card) bool { return len(c.Profiles) > 0 }); i >= 0 {
		of, _ := gpu.Capacity(cards[i].Profiles)
		mix = gpu.Learn(s.d.ledger.Uses(), of)
	}
	for _, other := range []gpu.Mix{s.d.settings.config().GPU.MIG.Mix, gpu.LabMix()} {
		if len(mix) == 0 {
			mix = other
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mix = mix
}

// tablesOf returns the tables of the cards, made anew when other cards or
// profiles are there than before, or people ask for something else.
func (s *shape) tablesOf(cards []gpu.Card) gpu.Tables {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of strings.Builder
	fmt.Fprintln(&of, s.mix)
	for i := range cards {
		fmt.Fprintln(&of, cards[i].UUID, len(cards[i].Profiles))
	}
	if of.String() == s.of {
		return s.tables
	}
	tables, err := gpu.NewTables(cards, s.mix)
	if err != nil {
		s.d.Log.Error("MIG profiles not understood: no instance is made", "error", err)
	}
	s.of, s.tables = of.String(), tables
	return tables
}

// What nobody tells of, such as the end of a process, is looked for again after
// a while; and what failed is tried again.
const (
	lookAgain = time.Minute
	tryAgain  = 10 * time.Second
)

// cut has done what is due on the cards, until ctx ends.
func (d *daemon) cut(ctx context.Context) error {
	for {
		d.shape.learn()
		next, err := d.ledger.Cut(ctx)
		wait, due := lookAgain, d.ledger.Due()
		if err != nil && ctx.Err() == nil {
			d.Log.ErrorContext(ctx, "cards not cut as they should be", "error", err)
			wait, due = tryAgain, nil
		} else if !next.IsZero() {
			wait = min(wait, time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-time.After(wait):
		}
	}
}
