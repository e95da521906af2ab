package reconciler

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/container"
)

// youngFor is how long a container that was started here isn't looked at: all
// but its process is known, and much of what is started is gone by then.
const youngFor = 200 * time.Millisecond

// A birth is a start that is looked at later.
type birth struct {
	id  string
	due time.Time
}

// Started takes what is known of a container that the launcher has started. The
// caller holds its claim's lock.
func (r *Reconciler) Started(o container.Observed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observed[o.ID], r.young[o.ID] = o, true
	select {
	case r.early <- birth{o.ID, r.Now().Add(youngFor)}:
	default: // the next glance looks at it
	}
}

func (r *Reconciler) isYoung(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.young[id]
}

// looksLater looks at what was started here once it isn't young any more.
func (r *Reconciler) looksLater(ctx context.Context) error {
	var looks errgroup.Group
	looks.SetLimit(lookers)
	for {
		select {
		case <-ctx.Done():
			return looks.Wait()
		case b := <-r.early:
			select {
			case <-ctx.Done():
				return looks.Wait()
			case <-time.After(b.due.Sub(r.Now())):
			}
			if r.isYoung(b.id) {
				looks.Go(func() error {
					if err := r.glimpse(ctx, b.id, always); err != nil {
						r.Log.WarnContext(ctx, "container not looked up", "container", b.id, "error", err)
					}
					return nil
				})
			}
		}
	}
}
