package launcher

import (
	"context"
	"fmt"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// spread turns VolumesFrom into mounts of what the person's own containers
// have mounted, where the request mounts nothing itself.
func (l *Launcher) spread(ctx context.Context, r *Request) error {
	h := &r.Body.HostConfig
	for _, from := range h.VolumesFrom {
		reference, mode, _ := strings.Cut(from, ":")
		if mode != "" && mode != "ro" && mode != "rw" {
			return &problem.Error{What: "Container " + r.Name + " not created", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("%q is neither ro nor rw", mode)), Next: "Write --volumes-from NAME:ro."}
		}
		other, err := l.another(*r, reference)
		if err != nil {
			return err
		}
		o, err := l.Engine.Inspect(ctx, other.ContainerID)
		if err != nil {
			return err
		}
		taken, err := targets(r.Body)
		if err != nil {
			return err
		}
		for _, m := range l.mountsOf(other, o, mode == "ro") {
			if !taken[m.Target] {
				h.Mounts = append(h.Mounts, m)
			}
		}
	}
	h.VolumesFrom = nil
	return nil
}

// mountsOf returns a container's mounts in its owner's words.
func (l *Launcher) mountsOf(record container.Record, o container.Observed, readOnly bool) []admission.MountPoint {
	var all []admission.MountPoint
	for _, m := range record.Mounts {
		all = append(all, admission.MountPoint{Type: "bind", Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly || readOnly})
	}
	for _, m := range o.Volumes {
		if v, ok := l.Registrar.VolumeAt(m.Name); ok && v.UID == record.UID {
			all = append(all, admission.MountPoint{Type: "volume", Source: v.Name, Target: m.Target, ReadOnly: m.ReadOnly || readOnly})
		}
	}
	return all
}

// targets returns the paths that a request mounts something at.
func targets(body admission.Create) (map[string]bool, error) {
	body.HostConfig.VolumesFrom = nil
	body.Volumes = nil // what it mounts without a name gives way
	ask, err := body.Ask()
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, m := range ask.Mounts {
		all[m.Target] = true
	}
	for _, m := range ask.Tmpfs {
		all[m.Target] = true
	}
	for _, v := range ask.Volumes {
		all[v.Target] = true
	}
	return all, nil
}
