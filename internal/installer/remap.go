package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
	"ds01.dev/ds01/internal/volume"
)

// PlanRemap looks at the host and plans the switch to an engine that remaps
// user namespaces, or back.
func (i *Installer) PlanRemap(ctx context.Context, s takeover.Switch) (takeover.Facts, takeover.Plan, error) {
	f, err := i.observe(ctx)
	if err == nil && f.Engine != nil {
		f.Stored, err = i.stored(ctx, f)
	}
	if err != nil {
		return f, takeover.Plan{}, err
	}
	p, err := takeover.Remap(f, i.wish, s)
	return f, p, err
}

// Remap does the steps of a plan that PlanRemap made. If one fails, the engine
// returns to the folder that it had.
func (i *Installer) Remap(ctx context.Context, f takeover.Facts, p takeover.Plan, s takeover.Switch) error {
	i = i.in(takeover.RemapFolder)
	unlock, err := i.lock()
	if err != nil {
		return err
	}
	defer unlock()
	m, err := i.keepRemap(f, p, s)
	if err != nil {
		return err
	}
	failed := errors.Join(i.sweep(m), i.do(ctx, p.Steps))
	if failed == nil {
		return i.switched(m, s.Back)
	}
	back, err := i.observe(context.WithoutCancel(ctx))
	if err == nil {
		p, err = takeover.Return(back, i.wish, s)
	}
	if err == nil {
		err = errors.Join(i.all(context.WithoutCancel(ctx), p.Steps)...)
	}
	if err == nil {
		err = i.switched(m, !s.Back)
	}
	if err != nil {
		return &problem.Error{
			What: "the engine's user namespaces are not switched, and not everything could be put back", Why: errors.Join(failed, err),
			Next: "Correct it and run 'ds01 remap', which goes on with it, or 'ds01 remap --undo'. No image was removed.",
		}
	}
	todo := "Correct it, and run it again."
	if p, ok := errors.AsType[*problem.Error](failed); ok && p.Next != "" {
		todo = p.Next
	}
	return &problem.Error{What: "the engine's user namespaces are not switched; everything is as it was before", Why: failed, Next: todo}
}

// keepRemap writes down what was before. On the way back that is known.
func (i *Installer) keepRemap(f takeover.Facts, p takeover.Plan, s takeover.Switch) (takeover.Manifest, error) {
	if s.Back && f.Remap != nil {
		m := *f.Remap
		m.Whole = false
		return m, i.save(m)
	}
	f.Before, f.Remap = f.Remap, nil // what is to be put there isn't there yet
	return i.keep(f, p)
}

// switched writes down that the engine remaps, or forgets that it did.
func (i *Installer) switched(m takeover.Manifest, back bool) error {
	if back {
		return i.forget(false)
	}
	m.Whole = true
	return i.save(m)
}

// all does every step, whatever fails on the way.
func (i *Installer) all(ctx context.Context, steps []takeover.Step) []error {
	var errs []error
	for _, s := range steps {
		if err := i.step(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// remapStep does a step that only a switch of user namespaces has.
func (i *Installer) remapStep(ctx context.Context, s takeover.Step) error {
	switch s.Do {
	case takeover.AddUser:
		if i.Accounts.User(ctx, s.User) {
			return nil
		}
		return i.Accounts.AddUser(ctx, s.User)
	case takeover.DropUser:
		if !i.Accounts.User(ctx, s.User) {
			return nil
		}
		return i.Accounts.DropUser(ctx, s.User)
	case takeover.SettleUsers:
		return i.in(takeover.RemapFolder).settle()
	case takeover.CheckEmpty:
		return i.asked(s.Path, func(e Engine) error { return checkEmpty(ctx, e) })
	case takeover.CopyImages:
		return i.copyImages(ctx)
	case takeover.TidyNetworks:
		return i.asked(s.Path, func(e Engine) error {
			_, err := Tidy(ctx, e, true)
			return err
		})
	case takeover.GiveVolumes:
		return i.asked(s.Path, func(e Engine) error { return i.giveVolumes(ctx, e) })
	default:
		return i.checkRemapped(ctx, s.Path, s.Do == takeover.CheckRemapped)
	}
}

// asked asks the engine at a socket.
func (i *Installer) asked(socket string, ask func(e Engine) error) error {
	e, err := i.Engine(i.at(socket))
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it was only asked
	return ask(e)
}

// giveVolumes has ds01 know of the volumes that are named after their owners.
func (i *Installer) giveVolumes(ctx context.Context, e Engine) error {
	folders, err := e.VolumeFolders(ctx)
	if err != nil {
		return err
	}
	var all []volume.Record
	for name := range folders {
		_, uid, ok := account.SplitEngineName(name)
		if v, theirs := volume.Of(name, uid, i.Now().UTC()); ok && theirs {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b volume.Record) int { return strings.Compare(a.EngineName, b.EngineName) })
	return i.Record(ctx, all)
}

// checkEmpty sees that nobody has made a container since the plan was made.
func checkEmpty(ctx context.Context, e Engine) error {
	all, err := e.List(ctx)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return &problem.Error{
			What: "the engine isn't switched", Why: problem.Because(problem.ErrConflict, "somebody made a container meanwhile: "+all[0].Name),
			Next: "Remove it, and run it again.",
		}
	}
	return nil
}

// checkRemapped sees that the engine that was started does what daemon.json
// says.
func (i *Installer) checkRemapped(ctx context.Context, socket string, remapped bool) error {
	if err := i.checkMoved(ctx, socket); err != nil {
		return err
	}
	return i.asked(socket, func(e Engine) error {
		info, err := e.Info(ctx)
		if err == nil && info.Remapped != remapped {
			err = &problem.Error{
				What: "the engine isn't switched", Why: problem.Because(problem.ErrConflict, "it was started anew, and does something else than daemon.json says"),
				Next: "journalctl -u docker says why.",
			}
		}
		return err
	})
}

// stored returns what the engine keeps beside containers.
func (i *Installer) stored(ctx context.Context, f takeover.Facts) (*takeover.Stored, error) {
	e, err := i.Engine(i.at(f.At))
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // it was only asked
	info, err := e.Info(ctx)
	if err != nil {
		return nil, err
	}
	s := &takeover.Stored{Containerd: info.Containerd}
	if s.Images, err = images(ctx, e); err != nil {
		return nil, err
	}
	if s.Layers, err = e.LayerBytes(ctx); err != nil {
		return nil, err
	}
	if s.Free, err = free(i.at(info.DataRoot)); err != nil {
		return nil, fmt.Errorf("room in %s: %w", info.DataRoot, err)
	}
	folders, err := e.VolumeFolders(ctx)
	if err != nil {
		return nil, err
	}
	for name, folder := range folders {
		files, err := os.ReadDir(i.at(folder))
		s.Volumes = append(s.Volumes, takeover.Volume{Name: name, Full: folder == "" || err != nil || len(files) > 0})
	}
	slices.SortFunc(s.Volumes, func(a, b takeover.Volume) int { return strings.Compare(a.Name, b.Name) })
	networks, err := e.Networks(ctx)
	for _, n := range networks {
		if !network.Predefined(n.Name) {
			s.Networks = append(s.Networks, n.Name)
		}
	}
	slices.Sort(s.Networks)
	return s, err
}

// free returns how many bytes there is room for.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // no disk is that large
}
