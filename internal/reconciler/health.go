package reconciler

import (
	"context"
	"fmt"
	"maps"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// noteAilments writes down which devices that somebody holds aren't granted any
// more, once. Their holders are told as of other news.
func (r *Reconciler) noteAilments(ctx context.Context, records []container.Record) {
	var claims []gpu.Claim
	byID := map[string]container.Record{}
	for _, record := range records {
		if len(record.Devices) > 0 {
			claims = append(claims, record.Claim)
			byID[record.ID] = record
		}
	}
	ill := map[string]bool{} // by claim and device, with what is wrong
	for _, a := range gpu.Ailing(r.Devices(), claims) {
		key := a.Claim.ID + " " + a.Device.UUID + " " + a.Device.Problem
		ill[key] = true
		if r.noted[key] {
			continue
		}
		r.Log.WarnContext(ctx, "a device that is held isn't granted any more", "claim", a.Claim.ID, "slot", a.Device.Slot, "why", a.Device.Problem)
		_, text := unwell(a)
		r.record("warn", text, byID[a.Claim.ID])
	}
	maps.DeleteFunc(r.noted, func(key string, _ bool) bool { return !ill[key] })
	maps.Copy(r.noted, ill)
}

// unwell is what the holder of a device reads.
func unwell(a gpu.Ailment) (subject, text string) {
	subject = fmt.Sprintf("%s holds GPU %s, which isn't granted any more", a.Claim.Name, a.Device.Slot)
	return subject, fmt.Sprintf("%s: %s. Nothing is ended; save your work and be done with it.", subject, a.Device.Problem)
}
