package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/orphan"
	"ds01.dev/ds01/internal/problem"
)

// orphans looks for what was left over, and takes it away.
type orphans struct {
	*daemon

	one sync.Mutex // look at a time: each asks the engine for everything, and everybody may have it looked
}

// Find looks at everything once.
func (o *orphans) Find(ctx context.Context) ([]orphan.Orphan, error) {
	o.one.Lock()
	defer o.one.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for it any more
	}
	f, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	return orphan.Find(f), nil
}

// look gathers the facts, in the order that they ask for.
func (o *orphans) look(ctx context.Context) (f orphan.Facts, err error) {
	f.Now = time.Now()
	if f.Mounts, err = o.mounts(); err != nil {
		return f, err
	}
	if f.Given, err = grant.Folder(o.paths.DeviceNodes).All(); err != nil {
		return f, err
	}
	if f.Doors, err = o.doors.idle(); err != nil {
		return f, err
	}
	f.Groups = o.groups()
	if err := o.ask(ctx, &f); err != nil {
		return f, err
	}
	for _, v := range o.reconciler.Views(func(container.Record) bool { return true }) {
		f.Seen, f.Records = append(f.Seen, v.Observed), append(f.Records, v.Record)
	}
	f.Quarantined = o.reconciler.Quarantined()
	f.Seen = append(f.Seen, f.Quarantined...)
	f.OwnNetworks, f.OwnVolumes = o.registrar.Records()
	f.KnowsNot = o.strangers(f.Groups)
	return f, nil
}

// ask asks the engine what it has.
func (o *orphans) ask(ctx context.Context, f *orphan.Facts) (err error) {
	if f.Containers, err = o.engine.List(ctx); err != nil {
		return err
	}
	if f.Networks, err = o.engine.Networks(ctx); err != nil {
		return err
	}
	if f.Volumes, err = o.engine.Volumes(ctx); err != nil {
		return err
	}
	images, err := o.engine.Images(ctx)
	for _, i := range images {
		f.Images = append(f.Images, i.Names...)
	}
	return err
}

// mounts returns what lies in the folder of mounts: a folder for each claim, and
// in it a place for each of its mounts.
func (o *orphans) mounts() ([]string, error) {
	places, err := filepath.Glob(filepath.Join(o.paths.Mounts, "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var all []string
	for _, p := range places {
		if _, err := strconv.Atoi(filepath.Base(p)); err != nil {
			continue // ds01's own, for a moment
		}
		all = append(all, strings.TrimPrefix(p, o.paths.Mounts+"/"))
	}
	return all, nil
}

// groups returns people's control groups and those in them. systemd takes its own
// away itself.
func (o *orphans) groups() (all []orphan.Level) {
	if o.host.bySystemd() {
		return nil
	}
	level := func(path string) []string {
		children := o.host.tree.Children(filepath.Join(o.host.parent(), path))
		all = append(all, orphan.Level{Path: path, Processes: len(o.host.tree.Processes(filepath.Join(o.host.parent(), path))), Children: len(children)})
		return children
	}
	for _, person := range o.host.tree.Children(o.host.parent()) {
		for _, name := range level(person) {
			level(filepath.Join(person, name))
		}
	}
	return all
}

// strangers returns of whom there are groups but no account. A directory that
// doesn't answer knows nobody, which says nothing.
func (o *orphans) strangers(groups []orphan.Level) map[int]bool {
	gone := map[int]bool{}
	for _, g := range groups {
		uid, err := strconv.Atoi(strings.TrimPrefix(g.Path, "u"))
		if err != nil {
			continue
		}
		if _, err := o.accounts.Lookup(uid); errors.Is(err, problem.ErrNotFound) {
			gone[uid] = true
		}
	}
	return gone
}

// Remove takes an orphan away, if it still is one once nobody else is at it.
func (o *orphans) Remove(ctx context.Context, what orphan.Orphan) error {
	switch name := what.Object; what.Kind {
	case orphan.Claim:
		return o.settle(ctx, what)
	case orphan.Grant:
		return o.locked(ctx, name, what, func() error { return grant.Folder(o.paths.DeviceNodes).Take(name) })
	case orphan.Mount:
		return o.locked(ctx, filepath.Dir(name), what, func() error { return mount.Unmount(filepath.Join(o.paths.Mounts, name)) })
	case orphan.Door:
		return o.locked(ctx, name, what, func() error { o.doors.Close(ctx, name); return nil })
	case orphan.Group:
		group := filepath.Join(o.host.parent(), name)
		return o.narrows.idly(group, func() error {
			return o.locked(ctx, filepath.Base(name), what, func() error { return o.host.tree.Clear(group) })
		})
	case orphan.Network:
		return o.locked(ctx, "network "+name, what, func() error { return announced{o.engine}.RemoveNetwork(ctx, name) })
	case orphan.NetworkRecord:
		return o.registrar.SettleNetwork(ctx, name) // it asks the engine
	case orphan.VolumeRecord:
		return o.registrar.SettleVolume(ctx, name) // it asks the engine
	default:
		return problem.Because(problem.ErrDenied, "it may be somebody's work")
	}
}

// settle has the reconciler look at a claim, which asks the engine.
func (o *orphans) settle(ctx context.Context, what orphan.Orphan) error {
	record, ok := o.ledger.Record(what.Object)
	if !ok {
		return nil
	}
	return o.reconciler.Observe(ctx, record.ContainerID)
}

// locked does something under a lock if it still is what is to be done.
func (o *orphans) locked(ctx context.Context, key string, what orphan.Orphan, do func() error) error {
	defer o.ledger.Lock(key)()
	found, err := o.Find(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(f orphan.Orphan) bool {
		return f.Kind == what.Kind && f.Object == what.Object && f.Fix != ""
	}) {
		return problem.Because(problem.ErrConflict, "somebody uses it by now, or it has gone")
	}
	if err := do(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
