package daemon

import (
	"context"
	"slices"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/mount"
)

// A rating is what rates of disks are held on, and why they can't be.
type rating struct {
	disks []mount.Disk // of the engine's data, which stays where it is while the engine runs
	why   string       // "": they can
}

// setRates holds a container to its owner's rates on the disks of the engine's
// data and of folders. What lies on no disk, such as a file server's, is read
// and written at its own rate.
func (h *host) setRates(uid int, id string, folders []string, l limits.Limits) error {
	rating := h.rating.Load()
	if why := h.tree.HoldsRates(); rating == nil || why != nil {
		return why
	}
	found := rating.disks
	if len(folders) > 0 {
		more, _, err := mount.Disks(folders...)
		if err != nil {
			return err
		}
		found = slices.Concat(found, more)
	}
	var disks []cgroup.Disk
	for _, d := range found {
		if d := cgroup.Disk(d); !slices.Contains(disks, d) {
			disks = append(disks, d)
		}
	}
	return h.tree.SetRates(h.container(uid, id), disks, cgroup.Rates{Read: l.IOReadBPS, Write: l.IOWriteBPS})
}

// noRates says why rates of disks can't be held here, "" where they can, or
// the engine was never reached.
func (h *host) noRates() string {
	if r := h.rating.Load(); r != nil {
		return r.why
	}
	return ""
}

// learnRates finds out whether rates can be held for an engine.
func (h *host) learnRates(ctx context.Context, dataRoot string) {
	var r rating
	disks, _, err := mount.Disks(dataRoot)
	if err == nil {
		err = h.tree.HoldsRates()
	}
	switch {
	case err != nil:
		r.why = err.Error()
	case len(disks) == 0:
		r.why = "the engine's data, " + dataRoot + ", lies on no disk of the kernel's"
	}
	r.disks = disks
	if h.rating.Store(&r); r.why != "" {
		h.d.Log.WarnContext(ctx, "rates of disks aren't held", "why", r.why)
	}
}
