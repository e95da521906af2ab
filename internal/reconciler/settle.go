package reconciler

import (
	"context"

	"ds01.dev/ds01/internal/container"
)

// settle forgets a volume or a network that has gone.
func (r *Reconciler) settle(ctx context.Context, e container.Event) {
	if e.Action != "destroy" {
		return // whoever makes one has noted it before
	}
	var err error
	switch e.Kind {
	case container.KindVolume:
		err = r.Registrar.SettleVolume(ctx, e.ID)
	case container.KindNetwork:
		if n, known := r.Registrar.NetworkAt(e.ID); known {
			err = r.Registrar.SettleNetwork(ctx, n.EngineName)
		}
	}
	if err != nil {
		r.Log.WarnContext(ctx, "not looked up", "kind", e.Kind, "id", e.ID, "error", err)
	}
}
