package launcher

import (
	"context"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Pause makes a running container stand still. It holds what it holds.
func (l *Launcher) Pause(ctx context.Context, claim string) error {
	return l.halt(ctx, "Container not paused", claim, l.Engine.Pause)
}

// Unpause lets a paused container go on.
func (l *Launcher) Unpause(ctx context.Context, claim string) error {
	return l.halt(ctx, "Container not resumed", claim, l.Engine.Unpause)
}

func (l *Launcher) halt(ctx context.Context, what, claim string, ask func(context.Context, string) error) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, err := l.existing(what, claim)
	if err == nil {
		err = l.refuseWhileCopying(what, claim)
	}
	if err != nil {
		return err
	}
	return ask(ctx, record.ContainerID)
}

func paused(record container.Record) error {
	return &problem.Error{
		What: notStarted, Why: problem.Because(problem.ErrConflict, record.Name+" is paused"),
		Next: "Let it go on with 'docker unpause " + record.Name + "'.",
	}
}
