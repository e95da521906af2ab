package launcher

import (
	"context"
	"path/filepath"
	"strconv"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/limits"
)

// mounts are what one container may mount: each with the root that it comes
// from, in the same order.
type mounts struct {
	list    []container.Mount // without a place, nor the container's user
	roots   []admission.MountRoot
	asOwner bool // the container runs as its owner
}

// allowMounts decides about each mount that is asked for, and looks at its
// source.
func (l *Launcher) allowMounts(who account.Account, asks []admission.MountAsk, s admission.Subject) (mounts, error) {
	if len(asks) == 0 {
		return mounts{}, nil
	}
	var out mounts
	allowed := l.Roots(who, s.Limits)
	for _, ask := range asks {
		if admission.IsDoor(ask.Source, l.Gateway) {
			if err := admission.AllowDoor(ask.Source, who, l.Doors != nil); err != nil {
				return mounts{}, err
			}
			out.list = append(out.list, container.Mount{Source: ask.Source, Target: ask.Target, ReadOnly: ask.ReadOnly, Door: true})
			out.roots = append(out.roots, admission.MountRoot{})
			continue
		}
		ask, root, err := admission.AllowMount(ask, allowed, s.Limits)
		if err != nil {
			return mounts{}, err
		}
		m := container.Mount{Source: ask.Source, Target: ask.Target, ReadOnly: ask.ReadOnly, Alone: ask.Alone}
		maps, err := l.Mappable(who, root, m)
		if err != nil {
			return mounts{}, err
		}
		m.Plain = !maps
		out.asOwner = out.asOwner || m.Plain || s.Isolation == admission.UID
		out.list, out.roots = append(out.list, m), append(out.roots, root)
	}
	if out.asOwner {
		out.hold(who)
	}
	return out, nil
}

// hold notes with which groups a container that runs as its owner is made.
func (m *mounts) hold(who account.Account) {
	groups := []int{who.GID}
	for _, g := range who.Groups {
		if g.GID != who.GID {
			groups = append(groups, g.GID)
		}
	}
	for i := range m.list {
		m.list[i].Groups = groups
	}
}

// mountable returns a mount as it is to be made: a container without a user
// namespace of its own has no mount mapped to one.
func mountable(record container.Record, m container.Mount) container.Mount {
	m.Plain = record.Plain()
	return m
}

// lay returns where the mounts of a claim will lie, and for whom.
func (m mounts) lay(folder string, user containerUser) func(claim string) []container.Mount {
	return func(claim string) []container.Mount {
		laid := make([]container.Mount, len(m.list))
		for i, each := range m.list {
			each.HostPath = filepath.Join(folder, claim, strconv.Itoa(i))
			if !each.Door { // which is everybody's
				each.ContainerUID, each.ContainerGID = user.uid, user.gid
			}
			laid[i] = each
		}
		return laid
	}
}

// mountAll opens the mounts of a container again and puts them in their
// places, if its owner may still have them.
func (l *Launcher) mountAll(ctx context.Context, s admission.Subject, record container.Record) error {
	for _, m := range record.Mounts {
		if err := admission.CheckGroups(record.Name, m.Groups, s.Account); err != nil {
			return err
		}
	}
	return l.eachMount(s.Account, s.Limits, record, func(root admission.MountRoot, m container.Mount) error {
		if err := l.Mounter.Unmount(m.HostPath); err != nil {
			return err
		}
		if m.Door {
			return l.openDoor(ctx, s.Account, record, m)
		}
		return l.Mounter.Mount(s.Account, root, m)
	})
}

// openDoor lets a container speak for its owner, if it still may.
func (l *Launcher) openDoor(ctx context.Context, owner account.Account, record container.Record, m container.Mount) error {
	if err := admission.AllowDoor(m.Source, owner, l.Doors != nil); err != nil {
		return err
	}
	return l.Doors.Open(ctx, record, m)
}

// closeDoor ends that.
func (l *Launcher) closeDoor(ctx context.Context, record container.Record) {
	if l.Doors != nil && record.HasDoor() {
		l.Doors.Close(ctx, record.ID)
	}
}

// eachMount calls do with each mount of a container and the root that it comes
// from, as long as its owner may mount it. Doors come from none.
func (l *Launcher) eachMount(owner account.Account, bound limits.Limits, record container.Record, do func(admission.MountRoot, container.Mount) error) error {
	if len(record.Mounts) == 0 {
		return nil
	}
	allowed := l.Roots(owner, bound)
	for _, m := range record.Mounts {
		if m.Door {
			if err := do(admission.MountRoot{}, m); err != nil {
				return err
			}
			continue
		}
		ask := admission.MountAsk{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Writable: !m.ReadOnly, Alone: m.Alone}
		_, root, err := admission.AllowMount(ask, allowed, bound)
		if err != nil {
			return err
		}
		if err := do(root, mountable(record, m)); err != nil {
			return err
		}
	}
	return nil
}
