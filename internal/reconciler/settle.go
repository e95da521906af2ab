package reconciler

import (
	"context"

	"ds01.dev/ds01/internal/container"
)

// settle forgets a volume or a network that has gone, and tells of an image
// that has got a name: whoever makes one of those has noted it before.
func (r *Reconciler) settle(ctx context.Context, e container.Event) {
	gone := e.Action == "destroy"
	var err error
	switch {
	case e.Kind == container.KindImage:
		err = r.Named(ctx, e.ID)
	case e.Kind == container.KindVolume && gone:
		err = r.Registrar.SettleVolume(ctx, e.ID)
	case e.Kind == container.KindNetwork && gone:
		if n, known := r.Registrar.NetworkAt(e.ID); known {
			err = r.Registrar.SettleNetwork(ctx, n.EngineName)
		}
	}
	if err != nil {
		r.Log.WarnContext(ctx, "not looked up", "kind", e.Kind, "id", e.ID, "error", err)
	}
}
