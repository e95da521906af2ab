package docker

import (
	"context"
)

// Pause makes a running container stand still; one that doesn't run, or is
// paused already, is of kind problem.ErrConflict.
func (e *Engine) Pause(ctx context.Context, id string) error {
	if err := e.api.ContainerPause(ctx, id); err != nil {
		return explain("pause container "+short(id), err)
	}
	return nil
}

// Unpause lets a paused container go on. One that isn't paused is an error.
func (e *Engine) Unpause(ctx context.Context, id string) error {
	if err := e.api.ContainerUnpause(ctx, id); err != nil {
		return explain("resume container "+short(id), err)
	}
	return nil
}

// Rename gives a container another name, which is of kind problem.ErrConflict
// where another has it.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	if err := e.api.ContainerRename(ctx, id, name); err != nil {
		return explain("rename container "+short(id), err)
	}
	return nil
}
