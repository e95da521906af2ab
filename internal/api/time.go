package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/steward"
)

func describeTime(clock steward.Clock, now time.Time) *apitype.Time {
	t := &apitype.Time{
		Activity: clock.Life.Doing, Sampled: clock.Sampled, Deadlines: []apitype.Deadline{},
		ExtendedSeconds: seconds(clock.Life.Extended), Kept: clock.Life.Kept, Protected: clock.Life.Protected,
	}
	for _, d := range clock.Deadlines {
		t.Deadlines = append(t.Deadlines, apitype.Deadline{
			Cause: string(d.Cause), Action: string(d.Verb), SpentSeconds: seconds(d.Spent), LimitSeconds: seconds(d.Limit),
			LeftSeconds: seconds(d.Left()), Due: now.Add(d.Left()).UTC().Truncate(time.Second), Waits: d.Waits,
		})
	}
	return t
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// extend puts off the end of a container's runtime.
func (c *call) extend() error {
	var want apitype.Extend
	if err := c.read(&want); err != nil {
		return err
	}
	by := time.Duration(want.Seconds) * time.Second
	if want.Seconds < 1 || want.Seconds > longestExtension {
		return &problem.Error{What: "Container not extended", Why: problem.Because(problem.ErrInvalid, "it can be put off by 1s to 366d"), Next: "Say for how long, such as 4h."}
	}
	return c.alter(func(ctx context.Context, claim string) error {
		record, _ := c.Ledger.Record(claim)
		owner, err := c.Accounts.Lookup(record.UID)
		if err != nil {
			return err
		}
		return c.Steward.Extend(ctx, record, c.Limits(owner), by, c.roles.Admin)
	})
}

// checkTime refuses what can't be the time of a run, in seconds; 0 is none.
func checkTime(seconds int64) error {
	if seconds < 0 || seconds > longestExtension {
		return &problem.Error{What: "The time can't be declared", Why: problem.Because(problem.ErrInvalid, "it is to be from 1s to 366d"), Next: "Say how long it takes at most, such as 4h."}
	}
	return nil
}

const longestExtension = 366 * 24 * 60 * 60 // seconds

// giveBack has the devices of a stopped container held for it no longer.
func (c *call) giveBack(record container.Record) error {
	if _, there := c.Ledger.Record(record.ID); !there {
		return nil // it was removed when it ended
	}
	return c.Ledger.Update(context.WithoutCancel(c.r.Context()), record.ID, func(r *container.Record) {
		if r.State == gpu.Held {
			r.HeldUntil = c.Now()
		}
	})
}

func (c *call) keep() error {
	return c.alter(func(ctx context.Context, claim string) error {
		record, _ := c.Ledger.Record(claim)
		return c.keepIt(ctx, record)
	})
}

// keepIt has a container kept within its owner's limits.
func (c *call) keepIt(ctx context.Context, record container.Record) error {
	owner, err := c.Accounts.Lookup(record.UID)
	if err != nil {
		return err
	}
	bound, size := c.Limits(owner), quantity.ByteSize(0)
	if !bound.Keep.Disk.Unlimited {
		if size, err = c.Engine.Size(ctx, record.ContainerID); err != nil {
			return err
		}
	}
	return c.Steward.Keep(ctx, record, bound, size)
}

func (c *call) unkeep() error { return c.alter(c.Steward.Unkeep) }

func (c *call) protect() error {
	return c.alter(func(ctx context.Context, claim string) error { return c.Steward.Protect(ctx, claim, true) })
}

func (c *call) unprotect() error {
	return c.alter(func(ctx context.Context, claim string) error { return c.Steward.Protect(ctx, claim, false) })
}

func (c *call) exemptions() error {
	all := []apitype.Exemption{}
	for _, e := range c.Steward.Exemptions() {
		all = append(all, describeExemption(e))
	}
	return c.answer(all)
}

func describeExemption(e lifecycle.Exemption) apitype.Exemption {
	out := apitype.Exemption{User: e.Login, Reason: e.Reason, By: e.By, Made: moment(e.Made), Until: moment(e.Until)}
	for _, cause := range e.From {
		out.From = append(out.From, string(cause))
	}
	return out
}

func (c *call) exempt() error {
	var want apitype.Exemption
	if err := c.read(&want); err != nil {
		return err
	}
	e, err := c.readExemption(want)
	if err != nil {
		return err
	}
	if err := c.Steward.Exempt(c.r.Context(), e); err != nil {
		return err
	}
	return c.answer(describeExemption(e))
}

func (c *call) readExemption(want apitype.Exemption) (e lifecycle.Exemption, err error) {
	refuse := func(why, next string) (lifecycle.Exemption, error) {
		return e, &problem.Error{What: "Nobody exempted", Why: problem.Because(problem.ErrInvalid, why), Next: next}
	}
	who, err := c.Accounts.LookupName(want.User)
	if err != nil {
		return refuse(fmt.Sprintf("the host knows no user %q", want.User), "Write a login name.")
	}
	if want.Reason = strings.TrimSpace(want.Reason); want.Reason == "" || len(want.Reason) > 500 {
		return refuse("an exemption needs a reason of up to 500 characters", "Say why with --reason.")
	}
	e = lifecycle.Exemption{Login: who.Name, Reason: want.Reason, By: c.who.Name, Made: c.Now().UTC()}
	if want.Until != nil {
		if e.Until = want.Until.UTC(); !c.Now().Before(e.Until) {
			return refuse("it would be over already", "Give a later time with --until, or leave it out.")
		}
	}
	for _, cause := range want.From {
		if !lifecycle.CanExempt(lifecycle.Cause(cause)) {
			return refuse(fmt.Sprintf("nobody can be exempt from %q", cause), "Write idle, runtime or hold.")
		}
		e.From = append(e.From, lifecycle.Cause(cause))
	}
	if len(e.From) == 0 {
		return refuse("it doesn't say from what", "Write --from idle, runtime or hold, or several of them.")
	}
	return e, nil
}

func (c *call) unexempt() error {
	if err := c.Steward.Unexempt(c.r.Context(), c.r.PathValue("user")); err != nil {
		return err
	}
	return c.answer(nil)
}
