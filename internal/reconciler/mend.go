package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// mend gives containers that run back what they hold and can't open any more.
func (r *Reconciler) mend(ctx context.Context, records []container.Record) {
	for _, record := range records {
		if record.State == gpu.Running && len(record.Devices) > 0 && len(r.lost(ctx, record)) > 0 {
			r.mendOne(ctx, record.ID)
		}
	}
}

// lost returns the nodes that a container can't open any more.
func (r *Reconciler) lost(ctx context.Context, record container.Record) []string {
	lost, err := r.Launcher.LostDevices(record, r.lastSeen(record))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has just ended
		r.Log.WarnContext(ctx, "what a container may open isn't known", "claim", record.ID, "error", err)
	}
	return lost
}

func (r *Reconciler) lastSeen(record container.Record) container.Observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.observed[record.ContainerID]
}

// mendOne looks again once nobody else changes the container's devices.
func (r *Reconciler) mendOne(ctx context.Context, claim string) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	unlock, err := r.Ledger.LockContext(ctx, claim)
	if err != nil {
		return
	}
	defer unlock()
	record, ok := r.Ledger.Record(claim)
	if !ok {
		return
	}
	lost := r.lost(ctx, record)
	if len(lost) == 0 {
		return
	}
	what := "it couldn't open " + strings.Join(lost, ", ") + " any more, at " + r.Now().UTC().Format(time.RFC3339)
	if err := r.Launcher.MendDevices(ctx, record, r.lastSeen(record)); err != nil {
		r.Log.ErrorContext(ctx, "container has lost its devices", "claim", claim, "nodes", lost, "error", err)
		r.record("mend", "not possible: "+err.Error(), record)
		return
	}
	r.Log.WarnContext(ctx, "container had lost its devices and has them again", "claim", claim, "nodes", lost)
	r.record("mend", what, record)
	r.inform(ctx, record)
}

// inform tells the holder, who may have seen a program fail.
func (r *Reconciler) inform(ctx context.Context, record container.Record) {
	subject := fmt.Sprintf("%s had lost GPU %s for a while", record.Name, strings.Join(record.Slots(), ", "))
	text := subject + ": something on the host took it away, and ds01 has given it back. Start again what failed meanwhile."
	if r.Tell != nil {
		if _, err := r.Tell(record.UID, "ds01: "+text); err != nil {
			r.Log.WarnContext(ctx, "nobody told", "uid", record.UID, "error", err)
		}
	}
	if r.Mail != nil {
		r.Mail(record.Login, subject, text) // one that isn't sent is no loss: the audit log has it
	}
}
