package launcher

import (
	"context"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// Update changes a container's resources within its owner's limits, and the
// policy by which ds01 starts it again. It starts and stops nothing.
func (l *Launcher) Update(ctx context.Context, claim string, u admission.Update) (warnings []string, err error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, ok := l.Ledger.Record(claim)
	if !ok || record.ContainerID == "" {
		return nil, &problem.Error{
			What: "Container not updated", Why: problem.Because(problem.ErrNotFound, "it was removed, or is still being created"), Next: "'container list' shows yours.",
		}
	}
	who, err := l.Accounts.Lookup(record.UID)
	if err != nil {
		return nil, err
	}
	subject, err := l.subject("Container "+record.Name+" not updated", who)
	if err != nil {
		return nil, err
	}
	reviewed, wish, err := admission.ReviewUpdate(u, subject)
	if err != nil {
		return nil, err
	}
	if err := l.mayWish(ctx, record, wish); err != nil {
		return nil, err
	}
	reviewed, changes, err := l.judgeUpdate(ctx, record, subject, reviewed, wish)
	if err != nil {
		return nil, err
	}
	warnings, err = l.send(ctx, record, reviewed)
	if warnings = append(warnings, told(changes)...); err != nil || wish == nil && u.Wishes() == (container.Wishes{}) {
		return warnings, err
	}
	return warnings, l.Ledger.Update(ctx, claim, func(c *container.Record) {
		if wish != nil {
			c.Restart = lifecycle.Wished(c.Restart, *wish)
		}
		if c.Wishes != nil {
			wishes := c.Wishes.Lay(u.Wishes())
			c.Wishes = &wishes
		}
	})
}

// judgeUpdate has the site's policy judge an update: what it took when the
// container was made can't be had back by one.
func (l *Launcher) judgeUpdate(ctx context.Context, record container.Record, s admission.Subject, u admission.Update, wish *container.RestartPolicy) (admission.Update, []admission.Change, error) {
	if l.Policy() == nil {
		return u, nil, nil
	}
	seen, stored, err := l.Engine.Stored(ctx, record.ContainerID)
	if err != nil {
		return u, nil, err
	}
	config, err := admission.DecodeStored(stored)
	if err != nil {
		return u, nil, err
	}
	if wish != nil {
		record.Restart.Policy = *wish
	}
	return l.reviewExisting(ctx, "Container "+record.Name+" not updated", policy.ContainerUpdate, made{record, seen, config, s}, u)
}

// judgeDevices has the site's policy judge a container with other devices.
func (l *Launcher) judgeDevices(ctx context.Context, record container.Record, s admission.Subject) error {
	_, _, err := l.judgeUpdate(ctx, record, s, admission.Update{}, nil)
	return err
}

// mayWish refuses, as the engine does, to start again what is removed when it
// ends.
func (l *Launcher) mayWish(ctx context.Context, record container.Record, wish *container.RestartPolicy) error {
	if wish == nil || !wish.Wanted() {
		return nil
	}
	o, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil || !o.AutoRemove {
		return err
	}
	return &problem.Error{
		What: "Container " + record.Name + " not updated",
		Why:  problem.Because(problem.ErrConflict, "it was made with --rm, and is removed when it ends"), Next: "Make it anew without --rm.",
	}
}

func (l *Launcher) send(ctx context.Context, record container.Record, u admission.Update) ([]string, error) {
	if u.Empty() {
		return nil, nil
	}
	body, err := admission.Encode(u)
	if err != nil {
		return nil, err
	}
	return l.Engine.Update(ctx, record.ContainerID, body)
}
