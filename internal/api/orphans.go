package api

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/orphan"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// Orphans finds what was left over, and takes it away.
type Orphans interface {
	Find(ctx context.Context) ([]orphan.Orphan, error)
	// Remove looks again before, once nobody else is at it. One that is none any
	// more is of kind problem.ErrConflict.
	Remove(ctx context.Context, o orphan.Orphan) error
}

// leftOver returns what was left over: everything for administrators, else what
// is the owner's.
func (c *call) leftOver() ([]apitype.Orphan, error) {
	all := []apitype.Orphan{}
	if c.Orphans == nil || !c.roles.Docker { // whoever has no containers has none that went
		return all, nil
	}
	found, err := c.Orphans.Find(c.r.Context())
	for _, o := range found {
		if c.roles.Admin || o.UID == c.owner.UID {
			all = append(all, apitype.Orphan{Kind: string(o.Kind), Object: o.Object, UID: o.UID, Why: o.Why, Fix: o.Fix, Next: o.Next})
		}
	}
	return all, err
}

// checkOrphans says how much was left over.
func checkOrphans(left []apitype.Orphan, admin bool) apitype.Check {
	const name = "orphans"
	safe := 0
	for _, o := range left {
		if o.Fix != "" {
			safe++
		}
	}
	switch {
	case len(left) == 0:
		return ok(name, "Nothing was left over.")
	case !admin:
		return warn(name, fmt.Sprintf("%d things of yours were left over.", len(left)), "Ask your administrators to look: ds01 doctor --fix.")
	case safe == 0:
		return warn(name, fmt.Sprintf("%d things were left over; none can be taken away without a look.", len(left)), "See what each says.")
	}
	return warn(name, fmt.Sprintf("%d things were left over; %d of them can be taken away safely.", len(left), safe), "Run 'ds01 doctor --fix': it asks before.")
}

// fix takes away those orphans that are asked for and may be.
func (c *call) fix() error {
	var want apitype.Fix
	if err := c.read(&want); err != nil {
		return err
	}
	if c.Orphans == nil {
		return &problem.Error{What: "Nothing taken away", Why: problem.Because(problem.ErrUnavailable, "this daemon doesn't look for orphans")}
	}
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	found, err := c.Orphans.Find(c.r.Context())
	if err != nil {
		return err
	}
	done := []apitype.Fixed{}
	for _, w := range want.Orphans {
		one := apitype.Fixed{Kind: w.Kind, Object: w.Object}
		if err := c.takeAway(w, found); err != nil {
			one.Error = err.Error()
		}
		done = append(done, one)
	}
	return c.answer(done)
}

func (c *call) takeAway(want apitype.Orphan, found []orphan.Orphan) error {
	for _, o := range found {
		if string(o.Kind) != want.Kind || o.Object != want.Object {
			continue
		}
		if o.Fix == "" {
			return problem.Because(problem.ErrDenied, "it isn't safe. "+o.Next)
		}
		e := event.Event{Action: "take away", Object: want.Kind + " " + want.Object, Why: "asked for by " + c.who.Name + ": " + o.Why}
		if o.UID >= 0 {
			e.OwnerUID = &o.UID
		}
		c.Recorder.Daemon(e)
		return c.Orphans.Remove(c.r.Context(), o)
	}
	return problem.Because(problem.ErrConflict, "it isn't left over any more")
}
