package launcher

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// covers knows in place of which volumes the engine finds nothing, by the
// engine's names, and for how many containers.
type covers struct {
	mu    sync.Mutex
	count map[string]int
}

// cover puts nothing in place of all that is mounted in a container. The
// engine reads and writes a container's files as root of the host, and mounts
// there again what is mounted in it: both by names, which whoever can write to
// a mount turns into links meanwhile, from the container, another one or the
// host. So it finds no name there but those of mounts further down. The caller
// has locked the volumes; whatever the outcome, it calls uncover afterwards.
func (l *Launcher) cover(owner account.Account, record container.Record, o container.Observed) error {
	deepest := record // first, so that a mount finds those in it
	deepest.Mounts = slices.SortedFunc(slices.Values(record.Mounts), func(a, b container.Mount) int {
		return strings.Count(b.Target, "/") - strings.Count(a.Target, "/")
	})
	for i := range deepest.Mounts { // whose they are to be may be what is asked about
		deepest.Mounts[i].ContainerUID, deepest.Mounts[i].ContainerGID = 0, 0
	}
	err := l.eachMount(owner, l.Limits(owner), deepest, func(root admission.MountRoot, m container.Mount) error {
		return l.Mounter.Cover(owner, root, m, inside(m.Target, o.Mounts))
	})
	l.covers.mu.Lock()
	defer l.covers.mu.Unlock()
	for _, v := range o.Volumes {
		if l.covers.count == nil {
			l.covers.count = map[string]int{}
		}
		l.covers.count[v.Name]++ // uncover counts each, whatever went wrong
		if err == nil && l.covers.count[v.Name] == 1 {
			err = l.Mounter.CoverVolume(v.Source, inside(v.Target, o.Mounts))
		}
	}
	return err
}

// uncover undoes cover.
func (l *Launcher) uncover(ctx context.Context, record container.Record, volumes []volume.Mounted) {
	l.unmount(ctx, record)
	l.covers.mu.Lock()
	defer l.covers.mu.Unlock()
	for _, v := range volumes {
		if l.covers.count[v.Name]--; l.covers.count[v.Name] > 0 {
			continue
		}
		delete(l.covers.count, v.Name)
		if err := l.Mounter.UncoverVolume(v.Source); err != nil {
			l.Log.ErrorContext(ctx, "volume still covered", "path", v.Source, "error", err)
		}
	}
}

// inside returns what of a container's mounts lies below a path in it: where
// from there, and what is mounted.
func inside(target string, mounts []container.Mounted) map[string]string {
	points := map[string]string{}
	for _, m := range mounts {
		if name, below := strings.CutPrefix(filepath.Clean(m.Target), filepath.Clean(target)+"/"); below {
			points[name] = m.Source
		}
	}
	return points
}

// refuseWhileCovered keeps a container from getting an empty directory in
// place of a volume. Who has locked the volumes can count on the answer.
func (l *Launcher) refuseWhileCovered(what string, uid int, volumes []string) error {
	l.covers.mu.Lock()
	defer l.covers.mu.Unlock()
	for _, name := range volumes {
		if l.covers.count[name] == 0 {
			continue
		}
		if v, ok := l.Registrar.VolumeAt(name); ok && v.UID == uid {
			name = v.Name
		}
		return &problem.Error{
			What: what, Why: problem.Because(problem.ErrConflict, fmt.Sprintf("files of a container that has the volume %s are being copied", name)),
			Next: "Try again when 'docker cp' is done.",
		}
	}
	return nil
}

// Look returns a container as the engine has it now.
func (l *Launcher) Look(ctx context.Context, record container.Record) (container.Observed, error) {
	return l.Engine.Inspect(ctx, record.ContainerID)
}

// Inside is Look. A container with mounts that ds01 didn't make is refused, as
// for Copy.
func (l *Launcher) Inside(ctx context.Context, record container.Record) (container.Observed, error) {
	o, err := l.Look(ctx, record)
	if err != nil {
		return o, err
	}
	return o, l.onlyOurs(record, o)
}

func volumeNames(volumes []volume.Mounted) (names []string) {
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names
}
