package daemon

import (
	"strings"

	"ds01.dev/ds01/internal/archiver"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// files opens what people copy.
type files struct{ h *host }

// Volume opens a volume that is mounted in a container.
func (f files) Volume(v volume.Mounted) (*archiver.Tree, error) {
	ids, err := f.ids()
	if err != nil {
		return nil, err
	}
	root, err := mount.Under(v.Source, f.h.d.paths.Mounts)
	if err != nil {
		return nil, err
	}
	return archiver.New(root, v.Target, ids), nil
}

// Layer opens a container's own files. Where it has no user namespace of its own
// its owner is themselves in it.
func (f files) Layer(record container.Record, o container.Observed, write bool) (*archiver.Tree, error) {
	ids, err := f.ids()
	if err != nil {
		return nil, err
	}
	if record.Plain() {
		ids.Users, ids.Groups = []int{record.UID}, record.Mounts[0].Groups
	}
	root, err := mount.Layer(o.Layer, f.h.d.paths.Mounts, write)
	if err != nil {
		return nil, err
	}
	return archiver.New(root, "", ids).WithPoints(points(o)), nil
}

// Snapshot has the engine find a container's files as they are now.
func (files) Snapshot(o container.Observed) (undo func() error, err error) {
	return mount.Snapshot(o.Layer)
}

// points returns where something is mounted in a container, by names that
// don't begin with '/', with the files that the engine gives it.
func points(o container.Observed) map[string]string {
	all := map[string]string{"proc": "", "sys": "", "dev": ""}
	for _, m := range o.Mounts {
		all[strings.Trim(m.Target, "/")] = ""
	}
	for target, source := range o.Given {
		if _, own := all[strings.Trim(target, "/")]; !own {
			all[strings.Trim(target, "/")] = source
		}
	}
	return all
}

// ids returns which ids of the host those in a container are.
func (f files) ids() (archiver.IDs, error) {
	info, known := f.h.info()
	if !known {
		return archiver.IDs{}, &problem.Error{
			What: "Files not copied",
			Why:  problem.Because(problem.ErrUnavailable, "ds01 hasn't found out yet how the engine isolates containers"), Next: "Try again in a moment.",
		}
	}
	if !info.Remapped {
		return archiver.IDs{}, nil
	}
	return archiver.IDs{Base: info.RemapBase, Size: info.RemapSize}, nil
}
