package reconciler

import (
	"context"
	"errors"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
)

// step reports whether a container that ds01 doesn't know is a step of a
// person's build. One under way is left alone; what a build has left behind,
// whose engine died, is removed.
func (r *Reconciler) step(ctx context.Context, o container.Observed) (bool, error) {
	switch r.Launcher.StepOf(o) {
	case launcher.StepRuns:
		return true, nil
	case launcher.StepLeft:
		r.Log.WarnContext(ctx, "a build has left a container behind, removing it", "container", o.ID)
		r.Recorder.Daemon(event.Event{Action: "discard", Why: "a build that has ended left it behind", Object: o.Name, Container: o.ID})
		if err := r.Remove(ctx, o.ID); err != nil && !errors.Is(err, problem.ErrNotFound) && !errors.Is(err, problem.ErrConflict) {
			return true, err
		}
		return true, nil
	default:
		return false, nil
	}
}
