package launcher

import (
	"context"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Pause makes a running container stand still. It holds what it holds.
func (l *Launcher) Pause(ctx context.Context, claim string) error {
	return l.halt(ctx, claim, "Container not paused", "running", l.Engine.Pause)
}

// Unpause lets a paused container go on.
func (l *Launcher) Unpause(ctx context.Context, claim string) error {
	return l.halt(ctx, claim, "Container not resumed", "paused", l.Engine.Unpause)
}

// halt asks the engine for something that only a container in one state takes.
func (l *Launcher) halt(ctx context.Context, claim, what, state string, ask func(context.Context, string) error) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, err := l.existing(what, claim)
	if err == nil {
		err = refuseWhileCopying(what, claim, &l.copies)
	}
	if err != nil {
		return err
	}
	now, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil {
		return err
	}
	if now.State != state {
		return &problem.Error{
			What: what, Why: problem.Because(problem.ErrConflict, record.Name+" is "+now.State),
			Next: "It must be " + state + " for that; 'container list' shows yours.",
		}
	}
	return ask(ctx, record.ContainerID)
}

func paused(record container.Record) error {
	return &problem.Error{
		What: notStarted, Why: problem.Because(problem.ErrConflict, record.Name+" is paused"),
		Next: "Let it go on with 'docker unpause " + record.Name + "'.",
	}
}
