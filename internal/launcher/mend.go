package launcher

import (
	"context"
	"errors"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// LostDevices returns by name the nodes of its devices that a running container
// can't open any more, because something outside ds01 took the kernel's rule
// away, as systemd does when it reads its units again, or the node.
func (l *Launcher) LostDevices(record container.Record, o container.Observed) ([]string, error) {
	var lost []string
	err := l.eachLost(record, o, func(n gpu.Node, _, _ bool) error {
		lost = append(lost, n.Name)
		return nil
	})
	return lost, err
}

// MendDevices gives them back. The caller holds the claim's lock.
func (l *Launcher) MendDevices(ctx context.Context, record container.Record, o container.Observed) error {
	var failed error
	err := l.eachLost(record, o, func(n gpu.Node, rule, shown bool) error {
		if rule {
			failed = errors.Join(failed, l.Live.Restore(ctx, record.UID, o, n))
		}
		if shown {
			failed = errors.Join(failed, l.Live.Allow(ctx, record.UID, o, n))
		}
		return nil
	})
	return errors.Join(err, failed)
}

// eachLost calls do with what of its devices' nodes a container has lost. Nodes
// that NVIDIA's hook or the engine puts in aren't ds01's to show.
func (l *Launcher) eachLost(record container.Record, o container.Observed, do func(n gpu.Node, rule, shown bool) error) error {
	if l.Live == nil || record.State != gpu.Running || o.State != "running" {
		return nil
	}
	libraries, err := l.Libraries()
	shows := err == nil && libraries == admission.LibrariesNone && record.AtStart
	for _, n := range gpu.Nodes(l.devicesOf(record)) {
		rule, shown, err := l.Live.Lost(record.UID, o, n)
		shown = shown && shows
		if err == nil && (rule || shown) {
			err = do(n, rule, shown)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
