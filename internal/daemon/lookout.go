package daemon

import (
	"time"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/lookout"
	"ds01.dev/ds01/internal/terminal"
)

// lookout watches how close containers here come to their limits.
func (h *host) lookout() *lookout.Lookout {
	return lookout.New(lookout.Parts{
		Records:   h.d.ledger.Records,
		Container: func(uid int, id string) lookout.Gauge { return gauge{h.tree.Gauge(h.container(uid, id))} },
		Person:    func(uid int) lookout.Gauge { return gauge{h.tree.Gauge(h.path(uid))} },
		Host:      cgroup.HostWaiting,
		Tell:      func(uid int, text string) (int, error) { return terminal.Tell(terminal.Folder, uid, text) },
		Log:       h.d.Log, Now: time.Now,
	})
}

type gauge struct{ *cgroup.Gauge }

func (g gauge) Strain() (lookout.Strain, error) {
	s, err := g.Gauge.Strain()
	return lookout.Strain(s), err
}
