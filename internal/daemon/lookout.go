package daemon

import (
	"time"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/lookout"
	"ds01.dev/ds01/internal/terminal"
)

// lookout watches how close containers here come to their limits.
func (h *host) lookout() *lookout.Lookout {
	strain := func(group string) (lookout.Strain, error) {
		s, err := h.tree.Strain(group)
		return lookout.Strain(s), err
	}
	return lookout.New(lookout.Parts{
		Records:   h.d.ledger.Records,
		Container: func(uid int, id string) (lookout.Strain, error) { return strain(h.container(uid, id)) },
		Person:    func(uid int) (lookout.Strain, error) { return strain(h.path(uid)) },
		Host:      cgroup.HostWaiting,
		Tell:      func(uid int, text string) (int, error) { return terminal.Tell(terminal.Folder, uid, text) },
		Log:       h.d.Log, Now: time.Now,
	})
}
