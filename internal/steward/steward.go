// Package steward keeps the time of containers: it has people told that theirs
// are idle, have run for long or are about to go, then takes devices back, stops
// and removes. What is due it doesn't decide, see package lifecycle.
package steward

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/recorder"
)

// Store remembers over restarts.
type Store interface {
	Lives(ctx context.Context) (map[string]lifecycle.Life, error)
	SaveLives(ctx context.Context, lives map[string]lifecycle.Life, now lifecycle.Beat) error
	Beat(ctx context.Context) (lifecycle.Beat, error)
	Exemptions(ctx context.Context) ([]lifecycle.Exemption, error)
	SaveExemption(ctx context.Context, e lifecycle.Exemption) error
	DeleteExemption(ctx context.Context, login string) error
}

// Launcher changes what containers have and are to do.
type Launcher interface {
	TakeDevices(ctx context.Context, claim string) error
	Halt(ctx context.Context, claim string) error
}

// Voice reaches a container's owner.
type Voice interface {
	// Tell says something at the terminals, in the workspace and, where mail, by mail.
	Tell(ctx context.Context, c container.Record, subject, text string, mail bool)
	// Hush takes what was said back from the workspace.
	Hush(ctx context.Context, c container.Record)
	// Alive reports whether the workspace has the file that asks to let a container be.
	Alive(c container.Record) bool
	// LastCall runs the container's own program that saves its work, if it has one,
	// and returns when that is done or left is over.
	LastCall(ctx context.Context, c container.Record, why lifecycle.Cause, left time.Duration) error
}

// Parts are what a steward works with.
type Parts struct {
	Store    Store
	Ledger   *allocator.Allocator
	Observed func(id string) (container.Observed, bool)            // as the engine showed it last
	Observe  func(ctx context.Context, id string) error            // has the ledger in step with the engine
	Sample   func(ctx context.Context) map[string]lifecycle.Sample // of all that run, by claim
	Launcher Launcher
	Stop     func(ctx context.Context, id string, grace time.Duration) error
	Remove   func(ctx context.Context, id string) error
	Voice    Voice
	Accounts func(uid int) (account.Account, error)
	Limits   func(account.Account) limits.Limits
	Type     func(kind string) limits.Type
	Devices  func() []gpu.Device
	Live     func() bool // devices can be taken from containers that run
	Beat     func() lifecycle.Beat
	Period   func() time.Duration // between two passes
	Recorder *recorder.Recorder   // nil: nothing is written down
	Log      *slog.Logger
}

// Steward is one daemon's. It is safe for concurrent use.
type Steward struct {
	Parts

	acts  errgroup.Group // what is being done to containers, so many at a time
	words errgroup.Group // what is being said to people: never behind an engine that hangs

	keeping sync.Mutex     // held by who looks at the clocks
	seen    lifecycle.Beat // what they said then

	writing sync.Mutex // held by who stores, or reads back: what is older is never put over what is newer

	mu      sync.Mutex
	lives   map[string]lifecycle.Life // by claim
	looks   map[string]look           // by claim: what the last pass saw
	unsaved map[string]bool           // by claim: its life has changed
	owed    bool                      // one of them has worked: a crash must not forget that
	saved   time.Duration             // by the steady clock: when lives were last saved
	last    lifecycle.Beat
	acting  map[string]bool // by claim: something is being done to it
	saving  map[string]bool // by claim: its own program saves its work, or has since the last pass; true: still
	exempt  []lifecycle.Exemption
}

// A look is what a pass saw of a container, and what applied to it.
type look struct {
	facts lifecycle.Facts
	rule  lifecycle.Rule
}

// most that is done to containers at the same time.
const mostActs = 8

// New reads what was remembered.
func New(ctx context.Context, p Parts) (*Steward, error) {
	s := &Steward{Parts: p, looks: map[string]look{}, unsaved: map[string]bool{}, acting: map[string]bool{}, saving: map[string]bool{}}
	s.acts.SetLimit(mostActs)
	var err error
	if s.lives, err = p.Store.Lives(ctx); err != nil {
		return nil, err
	}
	if s.exempt, err = p.Store.Exemptions(ctx); err != nil {
		return nil, err
	}
	if s.last, err = p.Store.Beat(ctx); err != nil {
		return nil, err
	}
	for claim, l := range s.lives {
		l.Quiet = 0 // what it did while nobody looked isn't known
		s.lives[claim] = l
	}
	s.seen, s.saved = s.last, p.Beat().Steady
	return s, nil
}

// Run passes until ctx ends, and saves what is to be remembered then.
func (s *Steward) Run(ctx context.Context) error {
	defer s.Wait()
	for {
		s.Pass(ctx)
		select {
		case <-ctx.Done():
			s.save(context.WithoutCancel(ctx))
			return nil
		case <-time.After(s.Period()):
		}
	}
}

// Wait returns once nothing is being done to any container, or said of it.
func (s *Steward) Wait() {
	_ = s.acts.Wait() // they return nil, both
	_ = s.words.Wait()
}

// saveEvery is how much of what is remembered a crash can cost: of what brings an
// end nearer, nothing of what puts it off.
const saveEvery = time.Minute

// Pass looks at every container once, and does what is due.
func (s *Steward) Pass(ctx context.Context) {
	s.KeepTime(ctx)
	now := s.Beat()
	samples := s.Sample(ctx)
	records := s.Ledger.Records()
	all := scene{passed: s.passed(now), local: now.Wall.Local(), scarce: share(s.Devices(), records), people: map[int]*person{}, live: s.Live(), now: now.Wall}
	s.mu.Lock()
	all.exempt = s.exempt
	s.mu.Unlock()
	looks := make(map[string]look, len(records))
	for _, c := range records {
		if v, ok := s.pass(ctx, c, samples, &all, looks); ok {
			s.act(ctx, c, v)
		}
	}
	s.mu.Lock()
	s.looks, s.last = looks, now
	maps.DeleteFunc(s.lives, func(claim string, _ lifecycle.Life) bool { _, there := looks[claim]; return !there })
	due := s.owed || now.Steady-s.saved >= saveEvery || now.Steady < s.saved
	s.mu.Unlock()
	if due {
		s.save(ctx)
	}
}

// passed returns how much of containers' time has gone by since the last pass, or
// since ds01 was last there.
func (s *Steward) passed(now lifecycle.Beat) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.Boot != now.Boot {
		return 0
	}
	return max(0, now.Steady-s.last.Steady)
}

// KeepTime moves when GPUs are given back, or on to who is next, by what the clock
// on the wall has jumped since it was called last. Who is about to give some back calls it first.
func (s *Steward) KeepTime(ctx context.Context) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	now := s.Beat()
	jump := lifecycle.Jump(s.seen, now)
	if s.seen = now; jump == 0 {
		return
	}
	s.Log.WarnContext(ctx, "the clock has jumped, or the machine stood still: what is due is put off", "by", jump)
	for _, c := range s.Ledger.Records() {
		if c.HeldUntil.IsZero() {
			continue
		}
		if err := s.Ledger.Update(ctx, c.ID, func(c *container.Record) {
			if !c.HeldUntil.IsZero() {
				c.HeldUntil = c.HeldUntil.Add(jump)
			}
		}); err != nil {
			s.Log.ErrorContext(ctx, "a hold wasn't put off", "claim", c.ID, "error", err)
		}
	}
	if err := s.Ledger.PutOff(ctx, jump); err != nil {
		s.Log.ErrorContext(ctx, "what is kept for those who waited wasn't put off", "error", err)
	}
}

// save writes down every life that has changed.
func (s *Steward) save(ctx context.Context) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	owed := s.owed
	s.owed = false
	lives := make(map[string]lifecycle.Life, len(s.unsaved))
	for claim := range s.unsaved {
		if l, ok := s.lives[claim]; ok {
			lives[claim] = l
		}
	}
	s.mu.Unlock()
	now := s.Beat() // not before any of them: a crash counts from here on
	if err := s.Store.SaveLives(ctx, lives, now); err != nil {
		s.Log.ErrorContext(ctx, "containers' times not saved, they are tried again", "error", err)
		s.mu.Lock()
		s.owed = s.owed || owed
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = now.Steady
	for claim, l := range lives {
		if s.lives[claim] == l {
			delete(s.unsaved, claim)
		}
	}
}
