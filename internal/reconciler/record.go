package reconciler

import (
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
)

// record writes down what is about to be done to a container without anybody
// asking, once: what doesn't come off is tried again every second.
func (r *Reconciler) record(action, why string, c container.Record) {
	r.mu.Lock()
	again := r.told[c.ID] == action+why
	r.told[c.ID] = action + why
	r.mu.Unlock()
	if again {
		return
	}
	r.Recorder.Daemon(event.Event{
		Action: action, Why: why, Object: c.Name, Container: c.ContainerID, Claim: c.ID,
		Owner: c.Login, OwnerUID: &c.UID, Devices: c.Slots(),
	})
}
