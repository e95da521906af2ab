package reconciler

import (
	"context"
	"fmt"
	"maps"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// warnHolders tells whoever holds a device that isn't granted any more, once.
// Who has no terminal open is told once they have one. Nothing is ended.
func (r *Reconciler) warnHolders(ctx context.Context, records []container.Record) {
	claims, byID := make([]gpu.Claim, len(records)), map[string]container.Record{}
	for i, record := range records {
		claims[i], byID[record.ID] = record.Claim, record
	}
	ill := map[string]bool{} // by claim and device, with what is wrong
	for _, a := range gpu.Ailing(r.Devices(), claims) {
		key := a.Claim.ID + " " + a.Device.UUID + " " + a.Device.Problem
		ill[key] = true
		told, noted := r.warned[key]
		text := unwell(a)
		if !noted {
			r.Log.WarnContext(ctx, "a device that is held isn't granted any more", "claim", a.Claim.ID, "slot", a.Device.Slot, "why", a.Device.Problem)
			r.record("warn", text, byID[a.Claim.ID])
		}
		r.warned[key] = told || r.tellHolder(ctx, a, text)
	}
	maps.DeleteFunc(r.warned, func(key string, _ bool) bool { return !ill[key] })
}

// tellHolder reports whether a terminal took it.
func (r *Reconciler) tellHolder(ctx context.Context, a gpu.Ailment, text string) bool {
	if r.Tell == nil {
		return false
	}
	terminals, err := r.Tell(a.Claim.UID, "ds01: "+text)
	if err != nil {
		r.Log.WarnContext(ctx, "nobody told of a device that isn't granted any more", "uid", a.Claim.UID, "claim", a.Claim.ID, "error", err)
	}
	return terminals > 0
}

// unwell is what the holder of a device reads.
func unwell(a gpu.Ailment) string {
	return fmt.Sprintf("%s holds GPU %s, which isn't granted any more: %s. Nothing is ended; save your work and be done with it.",
		a.Claim.Name, a.Device.Slot, a.Device.Problem)
}
