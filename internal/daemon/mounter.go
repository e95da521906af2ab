package daemon

import (
	"path/filepath"
	"slices"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// mounter opens directories for the launcher.
type mounter struct{ h *host }

// roots returns from where a person may mount, with the links of each root
// followed that only the host's own root can have made. A root that can't be
// followed, or whose file system doesn't answer, stays as it is written: opening
// it tells why.
func (m mounter) roots(who account.Account, l limits.Limits) []admission.MountRoot {
	roots := admission.MountRoots(who, l)
	for i, r := range roots {
		if actual, err := m.h.waits.Settle(r.Path); err == nil {
			roots[i].Real = actual
		}
	}
	return roots
}

func (m mounter) mappable(who account.Account, root admission.MountRoot, c container.Mount) (bool, error) {
	r := m.request(who, root, c)
	if r.Idmap != nil { // whoever it will be for
		r.Idmap.ContainerUID, r.Idmap.ContainerGID = 0, 0
	}
	return mount.Mappable(r)
}

func (m mounter) Prepare(who account.Account, root admission.MountRoot, c container.Mount) error {
	if c.Door {
		return mount.PrepareFile(c.HostPath)
	}
	r := m.request(who, root, c)
	if c.ContainerUID < 0 {
		r.Idmap = nil // who it is for is known once the container is there
	}
	return mount.Prepare(r)
}

func (m mounter) Mount(who account.Account, root admission.MountRoot, c container.Mount) error {
	if _, known := m.h.info(); !known {
		return &problem.Error{
			What: c.Source + " can't be mounted",
			Why:  problem.Because(problem.ErrUnavailable, "ds01 hasn't found out yet how the engine isolates containers"), Next: "Try again in a moment.",
		}
	}
	return mount.Mount(m.request(who, root, c))
}

func (m mounter) Cover(who account.Account, root admission.MountRoot, c container.Mount, inside map[string]string) error {
	if c.Door {
		return mount.CoverFile(c.HostPath)
	}
	return mount.Cover(m.request(who, root, c), inside)
}

// The folder of ds01's mounts is what its covers are known by: no other daemon
// on the host has the same.

func (m mounter) CoverVolume(hostPath string, inside map[string]string) error {
	return mount.CoverDir(hostPath, m.h.d.paths.Mounts, inside)
}

func (m mounter) UncoverVolume(hostPath string) error {
	return mount.UncoverDir(hostPath, m.h.d.paths.Mounts)
}

func (mounter) Unmount(hostPath string) error { return mount.Unmount(hostPath) }

func (m mounter) request(who account.Account, root admission.MountRoot, c container.Mount) mount.Request {
	r := mount.Request{
		Source: c.Source, Root: root.Path, Target: c.HostPath, ReadOnly: c.ReadOnly || root.ReadOnly,
		Owner: mount.Owner{UID: who.UID, GID: who.GID}, Namespaces: &m.h.namespaces, Waits: &m.h.waits,
		Shared: !root.Home, Alone: c.Alone, Closed: m.h.closed(),
	}
	for _, g := range who.Groups {
		if g.GID != who.GID {
			r.Owner.Groups = append(r.Owner.Groups, g.GID)
		}
	}
	if info, ok := m.h.info(); ok && info.Remapped && !c.Plain {
		r.Idmap = &mount.Mapping{
			ContainerUID: c.ContainerUID, ContainerGID: c.ContainerGID, HostBase: info.RemapBase, HostSize: info.RemapSize,
		}
	}
	return r
}

// closed returns the folders that ds01 and the engine keep for themselves.
func (h *host) closed() []string {
	p := h.d.paths
	folders := []string{filepath.Dir(p.Config), filepath.Dir(p.Database), p.RunDir, p.DeviceNodes, p.Mounts, filepath.Dir(p.Engine)}
	if info, ok := h.info(); ok && info.DataRoot != "" {
		folders = append(folders, info.DataRoot)
	}
	return slices.DeleteFunc(folders, func(f string) bool { return f == "/" })
}
