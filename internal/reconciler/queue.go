package reconciler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ds01.dev/ds01/internal/gpu"
)

// advance goes through the queue and tells those for whom something is kept.
// Who has no terminal open is told once they have one. It returns when the
// queue is to be looked at next; zero means nothing is kept for anybody.
func (r *Reconciler) advance(ctx context.Context) time.Time {
	untold, next, err := r.Ledger.Advance(ctx)
	if err != nil {
		r.Log.ErrorContext(ctx, "queue not looked at", "error", err)
		return r.Now().Add(planAfter)
	}
	for _, t := range untold {
		if r.Tell == nil {
			break
		}
		told, err := r.Tell(t.UID, granted(t))
		if err == nil && told > 0 {
			r.Log.InfoContext(ctx, "told of a grant", "uid", t.UID, "ticket", t.ID, "terminals", told)
			err = r.Ledger.SetTold(ctx, t.ID)
		}
		if err != nil {
			r.Log.WarnContext(ctx, "nobody told of a grant", "uid", t.UID, "ticket", t.ID, "error", err)
		}
	}
	return next
}

// granted is what a person reads on their terminal.
func granted(t gpu.Ticket) string {
	slots := make([]string, len(t.Devices))
	for i, d := range t.Devices {
		slots[i] = d.Slot
	}
	how := "ds01 container deploy, or docker run --gpus"
	if t.Claim != "" {
		how = "ds01 container start"
	}
	return fmt.Sprintf("ds01: it is your turn: GPU %s is kept for you until %s. Use it with %s; give it up with ds01 gpu queue leave %s.",
		strings.Join(slots, ", "), t.Until.Local().Format("15:04"), how, t.ID)
}
