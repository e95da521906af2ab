package recorder

import (
	"context"
	"time"

	"ds01.dev/ds01/internal/event"
)

// What one person is refused more often than so is counted, not written: who
// asks in a loop for what they can't have must not push what others did out of
// the log. What is allowed is always written.
const (
	floodAfter  = 120
	floodPeriod = time.Minute
)

// A flood is what one person was refused in a period.
type flood struct {
	began  time.Time
	last   event.Event
	seen   int
	folded int
}

// flooded counts a refusal and reports whether it is one too many to write.
func (r *Recorder) flooded(e event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.floods[e.UID]
	if f == nil || r.now().Sub(f.began) >= floodPeriod {
		r.tell(f)
		f = &flood{began: r.now()}
		r.floods[e.UID] = f
	}
	if f.seen++; f.seen <= floodAfter {
		return false
	}
	f.folded++
	f.last = e
	return true
}

// tell writes down how many refusals were only counted.
func (r *Recorder) tell(f *flood) {
	if f == nil || f.folded == 0 {
		return
	}
	_, _ = r.sink.Append(event.Event{ // the sink says what it can't write
		Time: r.now(), Door: f.last.Door, Decision: event.Denied, Action: "more refusals", Times: f.folded,
		UID: f.last.UID, User: f.last.User, GID: f.last.GID, PID: f.last.PID,
		Why: "so many more requests were refused within a minute; the last one: " + f.last.Action + " " + f.last.Object,
	})
}

// Run writes counts of periods that are over until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(floodPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Flush(floodPeriod)
		}
	}
}

// Flush writes the counts of periods that are older than age; 0: all.
func (r *Recorder) Flush(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, f := range r.floods {
		if r.now().Sub(f.began) >= age {
			r.tell(f)
			delete(r.floods, uid)
		}
	}
}
