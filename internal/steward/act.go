package steward

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// actTimeout bounds what is done to one container beyond its own grace.
const actTimeout = 2 * time.Minute

// act does what a pass has found due, without keeping the pass waiting. Nothing
// else is done to the container meanwhile.
func (s *Steward) act(ctx context.Context, c container.Record, v lifecycle.Verdict) {
	s.mu.Lock()
	s.acting[c.ID] = true
	s.mu.Unlock()
	group := &s.acts
	if v.Verb == lifecycle.Warn {
		group = &s.words
	}
	begun := group.TryGo(func() error {
		defer s.done(c.ID)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout+max(0, s.grace(c)))
		defer cancel()
		if err := s.carryOut(ctx, c, v); err != nil {
			s.Log.ErrorContext(ctx, "not done to a container, it is tried again", "claim", c.ID, "verb", string(v.Verb), "cause", string(v.Deadline.Cause), "error", err)
		}
		return nil
	})
	if !begun {
		s.done(c.ID) // the next pass finds it again
	}
}

func (s *Steward) done(claim string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.acting, claim)
}

// carryOut does what is due, where it is so still once the engine has answered: one
// that hangs would do it when it goes on, whatever the container does by then.
func (s *Steward) carryOut(ctx context.Context, c container.Record, v lifecycle.Verdict) error {
	if v.Verb == lifecycle.Warn {
		return s.warn(ctx, c, v)
	}
	if err := s.Observe(ctx, c.ContainerID); err != nil {
		return err
	}
	if !s.still(c.ID, v) {
		return nil
	}
	switch v.Verb {
	case lifecycle.Take:
		return s.take(ctx, c, v)
	case lifecycle.Stop:
		return s.stop(ctx, c, v)
	default:
		return s.remove(ctx, c, v)
	}
}

func (s *Steward) still(claim string, v lifecycle.Verdict) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.due(claim, v)
}

// due reports whether the last pass has found the same due as one before. It is
// called with the mutex held.
func (s *Steward) due(claim string, before lifecycle.Verdict) bool {
	l, life := s.looks[claim], s.lives[claim]
	now := life.Judge(life.Deadlines(l.facts, l.rule), l.rule)
	return now.Verb == before.Verb && now.Deadline.Cause == before.Deadline.Cause && now.Note.Stage == before.Note.Stage
}

// record writes down what is about to be done, and why.
func (s *Steward) record(ctx context.Context, action string, c container.Record, why string) {
	s.Log.InfoContext(ctx, "container's time", "action", action, "claim", c.ID, "name", c.Name, "owner", c.Login, "why", why)
	s.Recorder.Daemon(event.Event{
		Action: action, Why: why, Object: c.Name, Container: c.ContainerID, Claim: c.ID,
		Owner: c.Login, OwnerUID: &c.UID, Devices: c.Slots(),
	})
}

// warn tells the owner, and remembers then that they were told: where ds01 is killed
// in between they hear it twice, which takes nothing from anybody.
func (s *Steward) warn(ctx context.Context, c container.Record, v lifecycle.Verdict) error {
	subject, text := warning(c, v)
	s.record(ctx, "warn", c, v.Deadline.Why())
	s.Voice.Tell(ctx, c, subject, text, v.Note.Stage == 1)
	if !s.remember(c.ID, v) {
		s.Voice.Hush(ctx, c)
		return nil
	}
	s.save(ctx)
	if v.Note.Stage < 2 || v.Deadline.Verb == lifecycle.Remove {
		return nil
	}
	s.setSaving(c.ID, true)
	defer s.setSaving(c.ID, false)
	return s.Voice.LastCall(ctx, c, v.Deadline.Cause, min(v.Deadline.Left(), actTimeout))
}

// remember notes a warning, unless it is void by now: somebody works on.
func (s *Steward) remember(claim string, v lifecycle.Verdict) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.due(claim, v) {
		return false
	}
	was := s.lives[claim]
	s.keep(claim, was, was.Told(v.Deadline.Cause, v.Note))
	return true
}

func (s *Steward) setSaving(claim string, still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saving[claim] = still
}

// take takes the devices from a container that runs on.
func (s *Steward) take(ctx context.Context, c container.Record, v lifecycle.Verdict) error {
	s.record(ctx, "take", c, v.Deadline.Why())
	if err := s.Launcher.TakeDevices(ctx, c.ID); err != nil {
		return err
	}
	s.mu.Lock()
	was := s.lives[c.ID]
	s.keep(c.ID, was, was.Bereft())
	s.mu.Unlock()
	s.Voice.Tell(ctx, c, fmt.Sprintf("GPU %s was taken back from your container %s", strings.Join(c.Slots(), ", "), c.Name),
		fmt.Sprintf("%s. The container runs on. Get a GPU again with: ds01 container gpu add %s", v.Deadline.Why(), c.Name), true)
	return nil
}

// stop stops a container and gives its devices back at once: they aren't kept for
// what was stopped because it held them.
func (s *Steward) stop(ctx context.Context, c container.Record, v lifecycle.Verdict) error {
	s.record(ctx, "stop", c, v.Deadline.Why())
	if err := s.Launcher.Halt(ctx, c.ID); err != nil {
		return err
	}
	if err := s.Stop(ctx, c.ContainerID, s.grace(c)); err != nil && !errors.Is(err, problem.ErrNotFound) {
		return err
	}
	if err := s.Observe(ctx, c.ContainerID); err != nil {
		return err
	}
	hold, next := s.holdOf(c), "Start it again with: ds01 container start "+c.Name
	if !hold.Unlimited {
		next += fmt.Sprintf("; it is removed after %s unless you keep it: ds01 container keep %s", quantity.FormatDuration(hold.Value), c.Name)
	}
	s.Voice.Tell(ctx, c, "Your container "+c.Name+" was stopped", v.Deadline.Why()+". "+next, true)
	if _, there := s.Ledger.Record(c.ID); !there {
		return nil // it was to be removed when it ends
	}
	return s.Ledger.Update(ctx, c.ID, func(r *container.Record) {
		if r.State == gpu.Held {
			r.HeldUntil = s.Beat().Wall
		}
	})
}

// grace returns how long a container has to end by itself.
func (s *Steward) grace(c container.Record) time.Duration {
	who, err := s.Accounts(c.UID)
	if err != nil {
		return -1 // its own
	}
	if t := s.Limits(who).Within(s.Type(c.Interface)).StopTimeout; !t.Unlimited {
		return t.Value
	}
	return -1
}

func (s *Steward) holdOf(c container.Record) quantity.Limit[time.Duration] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lives[c.ID].Kept {
		return s.looks[c.ID].rule.KeepFor
	}
	return s.looks[c.ID].rule.ContainerHold
}

// remove removes a container that doesn't run; what is in its mounts stays.
func (s *Steward) remove(ctx context.Context, c container.Record, v lifecycle.Verdict) error {
	defer s.Ledger.Lock(c.ID)()
	o, seen := s.Observed(c.ContainerID)
	if now, there := s.Ledger.Record(c.ID); !there || now.State == gpu.Running || seen && o.Running() {
		return nil // it was started, or removed, since
	}
	s.record(ctx, "remove", c, v.Deadline.Why())
	if err := s.Remove(ctx, c.ContainerID); err != nil && !errors.Is(err, problem.ErrNotFound) {
		return err
	}
	s.Voice.Tell(ctx, c, "Your container "+c.Name+" was removed", v.Deadline.Why()+". What lies in its workspace and other mounts is untouched. Make it anew with: ds01 container deploy "+c.Name, false)
	return nil
}

// warning is what a person reads before something happens.
func warning(c container.Record, v lifecycle.Verdict) (subject, text string) {
	d := v.Deadline
	left := quantity.FormatDuration(max(time.Second, d.Left().Round(time.Second)))
	switch {
	case d.Cause == lifecycle.Runtime:
		subject = fmt.Sprintf("Your container %s is stopped in %s", c.Name, left)
		text = fmt.Sprintf("%s. Save your work, or put it off with: ds01 container extend %s 4h", d.Why(), c.Name)
	case d.Verb == lifecycle.Take:
		subject = fmt.Sprintf("GPU %s of your container %s is taken back in %s", strings.Join(c.Slots(), ", "), c.Name, left)
		text = fmt.Sprintf("%s. It runs on without. Use it, or let it be for a while with: touch /workspace/.keep-alive", d.Why())
	case d.Cause == lifecycle.Idle:
		subject = fmt.Sprintf("Your container %s is stopped in %s", c.Name, left)
		text = fmt.Sprintf("%s. Use it, or let it be for a while with: touch /workspace/.keep-alive", d.Why())
	default:
		subject = fmt.Sprintf("Your container %s is removed in %s", c.Name, left)
		text = fmt.Sprintf("%s. What lies in its workspace stays; what it has written elsewhere goes. Keep it with: ds01 container keep %s", d.Why(), c.Name)
	}
	return subject, text
}
