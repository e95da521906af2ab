package steward

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
)

// A Clock is how a container stands with its time.
type Clock struct {
	Life      lifecycle.Life
	Sampled   bool // what it does is known
	Deadlines []lifecycle.Deadline
}

// Clock returns how a container stands, by what the last pass saw.
func (s *Steward) Clock(claim string) Clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, life := s.looks[claim], s.lives[claim]
	return Clock{Life: life, Sampled: l.facts.Sample != nil, Deadlines: life.Deadlines(l.facts, l.rule)}
}

// change writes a life down that somebody has changed.
func (s *Steward) change(ctx context.Context, claim string, change func(lifecycle.Life) (lifecycle.Life, error)) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	was := s.lives[claim]
	is, err := change(was)
	if err == nil {
		s.keep(claim, was, is)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.save(context.WithoutCancel(ctx))
	return nil
}

// Extend puts off when a container has run for as long as it may, as far as its
// owner's budget goes. What they have declared themselves only an administrator
// puts off: by it others in the queue were let wait.
func (s *Steward) Extend(ctx context.Context, c container.Record, l limits.Limits, by time.Duration, admin bool) error {
	const what = "Container not extended"
	if c.Lasts > 0 && !admin {
		return &problem.Error{
			What: what,
			Why:  problem.Because(problem.ErrConflict, fmt.Sprintf("%s was made with --time %s, and the queue reckons with that", c.Name, quantity.FormatDuration(c.Lasts))),
			Next: "Save your work and start it again when it was stopped, or ask an administrator to put it off.",
		}
	}
	if c.Lasts == 0 && lifecycle.RuleOf(l.Within(s.Type(c.Interface)), c.AsksAgain(), false).MaxRuntime.Unlimited {
		return &problem.Error{What: what, Why: problem.Because(problem.ErrConflict, c.Name+" may run for as long as it likes"), Next: "There is nothing to put off."}
	}
	run, err := s.run(ctx, c)
	if err != nil {
		return err
	}
	return s.change(ctx, c.ID, func(life lifecycle.Life) (lifecycle.Life, error) {
		life = life.Spend(run, lifecycle.Rule{}) // it may have been started since the last pass
		if most := l.MaxExtension; !most.Unlimited && life.Extended+by > most.Value {
			return life, &problem.Error{
				What: what, Code: "EXTENSION_LIMIT",
				Why: problem.Because(problem.ErrLimit, fmt.Sprintf("%s has been put off by %s, and may be by %s in all (max_extension of %s)",
					c.Name, quantity.FormatDuration(life.Extended), quantity.FormatDuration(most.Value), l.Source("max_extension"))),
				Next: fmt.Sprintf("Ask for at most %s, or ask an administrator for an exemption.", quantity.FormatDuration(max(0, most.Value-life.Extended))),
			}
		}
		life.Extended += by
		return life.Told(lifecycle.Runtime, lifecycle.Notice{}), nil
	})
}

// run returns what is known of the run of a container that goes on now.
func (s *Steward) run(ctx context.Context, c container.Record) (lifecycle.Facts, error) {
	if err := s.Observe(ctx, c.ContainerID); err != nil {
		return lifecycle.Facts{}, err
	}
	if now, ok := s.Ledger.Record(c.ID); ok {
		c = now
	}
	o, seen := s.Observed(c.ContainerID)
	phase, known := phaseOf(c, o, seen)
	if !known || phase != lifecycle.Running && phase != lifecycle.Between {
		return lifecycle.Facts{}, &problem.Error{
			What: "Container not extended", Why: problem.Because(problem.ErrConflict, c.Name+" doesn't run; its time begins anew when it is started"),
			Next: "Start it with 'ds01 container start " + c.Name + "', and extend it then.",
		}
	}
	return lifecycle.Facts{Phase: phase, Started: o.StartedAt, Restarts: c.Restart.Count}, nil
}

// Keep has a container kept when it stops. size is what it has written beyond its
// image.
func (s *Steward) Keep(ctx context.Context, c container.Record, l limits.Limits, size quantity.ByteSize) error {
	const what = "Container not kept"
	return s.change(ctx, c.ID, func(life lifecycle.Life) (lifecycle.Life, error) {
		if most := l.Keep.Disk; !most.Unlimited && size > most.Value {
			return life, &problem.Error{
				What: what, Code: "KEEP_DISK",
				Why:  problem.Because(problem.ErrLimit, fmt.Sprintf("%s has written %s, and what is kept may have written %s (keep.disk of %s)", c.Name, size, most.Value, l.Source("keep.disk"))),
				Next: "Move what you need to its workspace and remove the rest, or save it as an image: docker commit.",
			}
		}
		kept := s.kept(c.UID, c.ID)
		if most := l.Keep.Containers; !life.Kept && !most.Unlimited && len(kept) >= most.Value {
			return life, &problem.Error{
				What: what, Code: "KEEP_LIMIT",
				Why: problem.Because(problem.ErrLimit, fmt.Sprintf("of your containers %d are kept, and %d may be (keep.containers of %s): %s",
					len(kept), most.Value, l.Source("keep.containers"), strings.Join(kept, ", "))),
				Next: "Let another one go first: ds01 container unkeep NAME.",
			}
		}
		life.Kept = true
		return life, nil
	})
}

// kept is called with the mutex held.
func (s *Steward) kept(uid int, but string) (names []string) {
	for _, c := range s.Ledger.Records() {
		if c.UID == uid && c.ID != but && s.lives[c.ID].Kept {
			names = append(names, c.Name)
		}
	}
	return names
}

// Unkeep takes back that a container is to be kept.
func (s *Steward) Unkeep(ctx context.Context, claim string) error {
	return s.change(ctx, claim, func(life lifecycle.Life) (lifecycle.Life, error) {
		life.Kept = false
		return life.Told(lifecycle.Hold, lifecycle.Notice{}), nil
	})
}

// Protect has nothing done to a container, or lets it be treated as others.
func (s *Steward) Protect(ctx context.Context, claim string, on bool) error {
	return s.change(ctx, claim, func(life lifecycle.Life) (lifecycle.Life, error) {
		life.Protected = on
		return life, nil
	})
}

// Exemptions returns who is exempt from what, also those whose time is over.
func (s *Steward) Exemptions() []lifecycle.Exemption {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.exempt)
}

// Exempt exempts a person; another exemption of theirs is replaced.
func (s *Steward) Exempt(ctx context.Context, e lifecycle.Exemption) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	if err := s.Store.SaveExemption(ctx, e); err != nil {
		return err
	}
	return s.recall(ctx)
}

// Unexempt ends a person's exemption.
func (s *Steward) Unexempt(ctx context.Context, login string) error {
	if !slices.ContainsFunc(s.Exemptions(), func(e lifecycle.Exemption) bool { return e.Login == login }) {
		return &problem.Error{
			What: "Exemption not removed", Why: problem.Because(problem.ErrNotFound, login+" has none"), Next: "'ds01 exempt list' shows who has.",
		}
	}
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	if err := s.Store.DeleteExemption(ctx, login); err != nil {
		return err
	}
	return s.recall(ctx)
}

func (s *Steward) recall(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	all, err := s.Store.Exemptions(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exempt = all
	return nil
}
