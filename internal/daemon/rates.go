package daemon

import (
	"context"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/mount"
)

// setRates holds a container to its owner's rates on the disks of the engine's
// data and of folders. What lies on no disk, such as a file server's, is read
// and written at its own rate.
func (h *host) setRates(uid int, id string, folders []string, l limits.Limits) error {
	info, ok := h.info()
	if why := h.tree.HoldsRates(); !ok || why != nil {
		return why
	}
	found, _, err := mount.Disks(append(folders, info.DataRoot)...)
	if err != nil {
		return err
	}
	disks := make([]cgroup.Disk, len(found))
	for i, d := range found {
		disks[i] = cgroup.Disk(d)
	}
	return h.tree.SetRates(h.container(uid, id), disks, cgroup.Rates{Read: l.IOReadBPS, Write: l.IOWriteBPS})
}

// noRates says why rates of disks can't be held here, "" where they can, or
// the engine was never reached.
func (h *host) noRates() string {
	if why := h.unheld.Load(); why != nil {
		return *why
	}
	return ""
}

// learnRates finds out whether rates can be held for an engine.
func (h *host) learnRates(ctx context.Context, dataRoot string) {
	why := ""
	disks, _, err := mount.Disks(dataRoot)
	if err == nil {
		err = h.tree.HoldsRates()
	}
	switch {
	case err != nil:
		why = err.Error()
	case len(disks) == 0:
		why = "the engine's data, " + dataRoot + ", lies on no disk of the kernel's"
	}
	if h.unheld.Store(&why); why != "" {
		h.d.Log.WarnContext(ctx, "rates of disks aren't held", "why", why)
	}
}
