package warden

import (
	"context"
	"maps"
	"slices"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
)

// A sighting is one process on one device.
type sighting struct {
	device string
	pid    int
}

// Look finds the processes on devices that no claim explains, and has those
// devices not be granted while they are there.
//
// What the cards do is asked before who holds them: a container that starts
// meanwhile is known then. One that ends meanwhile leaves a process that is gone:
// such a one counts only when it is seen a second time, as a driver shows what
// never let go of its memory.
func (w *Warden) Look(ctx context.Context) {
	w.looking.Lock()
	defer w.looking.Unlock()
	readings, err := w.Readings(ctx)
	if err != nil {
		w.Log.WarnContext(ctx, "processes on the GPUs not looked at", "error", err)
		return
	}
	w.mu.Lock()
	cards, before := w.cards, w.seen
	w.mu.Unlock()
	found, seen := gpu.Strangers(cards, w.Claims(), readings, w.Members), map[sighting]bool{}
	for device, all := range found {
		found[device] = slices.DeleteFunc(all, func(s gpu.Stranger) bool {
			if w.Allowed(s.PID) {
				return true
			}
			at := sighting{device, s.PID}
			_, _, there := w.Identify(s.PID)
			_, again := before[at]
			seen[at] = there || again
			return !seen[at]
		})
		for i := range found[device] {
			s := &found[device][i]
			s.User, s.Command, _ = w.Identify(s.PID)
			if !before[sighting{device, s.PID}] {
				w.Log.WarnContext(ctx, "a process uses a GPU, and no claim explains that", "device", device, "pid", s.PID, "user", s.User, "command", s.Command)
				w.Record(event.Event{Action: "gpu stranger", Object: device, Why: gpu.Presence(found[device][i : i+1])})
			}
		}
	}
	maps.DeleteFunc(found, func(_ string, all []gpu.Stranger) bool { return len(all) == 0 })
	taken := make(map[string]string, len(found))
	for device, all := range found {
		taken[device] = gpu.Presence(all)
	}
	w.mu.Lock()
	w.strangers, w.seen = found, seen
	w.mu.Unlock()
	w.Taken(taken)
}

// Strangers returns the processes that no claim explains, by UUID of card or
// instance, as last seen. Don't change it.
func (w *Warden) Strangers() map[string][]gpu.Stranger {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.strangers
}
