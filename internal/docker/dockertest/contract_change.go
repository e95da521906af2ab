package dockertest

import (
	"errors"
	"testing"

	"ds01.dev/ds01/internal/problem"
)

func pauses(t *testing.T, e Subject) {
	t.Helper()
	ctx, id := t.Context(), create(t, e, "pauses", false)
	wantKind(t, "pause what doesn't run", e.Pause(ctx, id), problem.ErrConflict)
	must(t, e.Start(ctx, id))
	must(t, e.Pause(ctx, id))
	if o := inspect(t, e, id); o.State != "paused" || !o.Running() {
		t.Errorf("paused: %+v", o)
	}
	wantKind(t, "pause twice", e.Pause(ctx, id), problem.ErrConflict)
	must(t, e.Unpause(ctx, id))
	// The engine may hear late that it was paused, and takes it for that until it
	// hears of the end, too.
	within(t, "it runs again", func() bool { return inspect(t, e, id).State == "running" })
	if e.Unpause(ctx, id) == nil {
		t.Error("what isn't paused is resumed")
	}
	within(t, "it can be paused again", func() bool {
		err := e.Pause(ctx, id)
		if !errors.Is(err, problem.ErrConflict) {
			must(t, err)
		}
		return err == nil
	})
	must(t, e.Remove(ctx, id, true))
	for what, ask := range map[string]error{"pause": e.Pause(ctx, id), "resume": e.Unpause(ctx, id), "rename": e.Rename(ctx, id, "contract-no")} {
		wantKind(t, what+" what isn't there", ask, problem.ErrNotFound)
	}
}

func names(t *testing.T, e Subject) {
	t.Helper()
	ctx, id, other := t.Context(), create(t, e, "names", false), create(t, e, "taken", false)
	must(t, e.Rename(ctx, id, "contract-new._.1001"))
	if o := inspect(t, e, id); o.Name != "contract-new._.1001" {
		t.Errorf("renamed: %+v", o)
	}
	wantKind(t, "a name that is taken", e.Rename(ctx, other, "contract-new._.1001"), problem.ErrConflict)
	must(t, e.Rename(ctx, other, "contract-names"))
}
