package takeover

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// Record returns what has to be kept before a plan is begun: with it whatever
// part of the plan was done can be taken back. What an earlier try kept stays
// as it was. Exists says whether a folder is there.
func Record(f Facts, engine string, p Plan, m Manifest, exists func(folder string) bool) Manifest {
	if f.Before != nil {
		m = *f.Before
		m.Whole = false
	} else {
		m.Version, m.Engine, m.Started, m.Running = 1, engine, f.Docker.Active, f.Engine.Running()
	}
	for _, s := range p.Steps {
		switch s.Do { //nolint:exhaustive // the other steps leave nothing to take back
		case Put:
			s.Now, s.Then = f.without(s.Path, s.Now), f.without(s.Path, s.Then)
			m.touch(s)
			for _, dir := range folderOf(s.Path) {
				if !exists(dir) && !slices.Contains(m.Folders, dir) {
					m.Folders = append(m.Folders, dir)
				}
			}
		case AddUser:
			if !slices.Contains(m.Users, s.User) {
				m.Users = append(m.Users, s.User)
			}
		case CopyImages:
			for _, i := range s.Images {
				if !slices.Contains(m.Images, i.ID) {
					m.Images = append(m.Images, i.ID)
				}
			}
		case AddGroup:
			if !slices.Contains(m.Groups, s.Group) {
				m.Groups = append(m.Groups, s.Group)
			}
		case Join:
			m.move(s.User).Joined = append(m.move(s.User).Joined, s.Group)
		case Leave:
			m.move(s.User)
		}
	}
	return m
}

// move returns what is kept of a former member of the group docker.
func (m *Manifest) move(user string) *Moved {
	i := slices.IndexFunc(m.Moved, func(v Moved) bool { return v.User == user })
	if i < 0 {
		i = len(m.Moved)
		m.Moved = append(m.Moved, Moved{User: user})
	}
	return &m.Moved[i]
}

func (m *Manifest) touch(s Step) {
	for i, t := range m.Touched {
		if t.Path == s.Path {
			m.Touched[i].Edited = t.Edited || !s.Now.Same(t.Before) && !s.Now.Same(t.After)
			m.Touched[i].After = s.Then
			return
		}
	}
	m.Touched = append(m.Touched, Touched{Path: s.Path, Before: s.Now, After: s.Then})
}

// A Changed file is neither what was there before the installation nor what it
// put there.
type Changed struct {
	Touched
	Now File
}

// Changes returns the files that somebody changed since they were put there.
func Changes(f Facts) []Changed {
	var all []Changed
	for _, t := range f.Before.Touched {
		if now := f.bare(t.Path); !now.Same(t.Before) && (t.Edited || !now.Same(t.After)) {
			all = append(all, Changed{Touched: t, Now: now})
		}
	}
	return all
}

// Undo plans the steps back to what was before the installation, from
// wherever it has come to. Keep names changed files that stay as they are.
// It is refused where containers would end. The drop-in of docker.socket can't
// be kept: with it Docker isn't as it was.
func Undo(f Facts, keep []string) (Plan, error) {
	m := f.Before
	if err := f.refuseLoss(); err != nil {
		return Plan{}, err
	}
	moved := f.remapped() || f.At != usualSocket || !f.Docker.Active || !f.Socket.Active
	if moved && f.Engine != nil && !f.Engine.LiveRestore && len(f.Engine.Running()) > 0 {
		return Plan{}, &problem.Error{
			What: "ds01 is not uninstalled",
			Why:  problem.Because(problem.ErrConflict, fmt.Sprintf("the engine has to restart, and doesn't let its %d running containers run on", len(f.Engine.Running()))),
			Next: `Set "live-restore": true in ` + Daemon + ", then: systemctl reload docker.",
		}
	}
	if slices.Contains(keep, SocketDropIn) {
		return Plan{}, &problem.Error{What: "ds01 is not uninstalled", Why: errors.New(SocketDropIn + " was changed, and is to stay"), Next: "Save it elsewhere, and let it be put back."}
	}
	var p Plan
	if f.Ds01.Active {
		p.add(Step{Do: Stop, Unit: ds01Service, Why: "containers run on"})
	}
	first := func(path string) bool {
		return strings.HasPrefix(path, dropIns) || path == Wanted
	}
	p.back(f, keep, first)
	p.add(Step{Do: ReadUnits})
	f.Files = p.unremap(f, Daemon)
	if moved {
		p.add(Step{Do: Stop, Unit: dockerSocket, Why: "containers run on"})
		p.add(Step{Do: Stop, Unit: dockerService})
		p.add(Step{Do: Start, Unit: dockerSocket})
		p.add(Step{Do: Start, Unit: dockerService})
	}
	had := len(p.Steps)
	p.back(f, keep, func(path string) bool { return path == Daemon })
	if len(p.Steps) > had || moved {
		p.add(Step{Do: Start, Unit: dockerService}) // which a broken daemon.json kept from it
		p.add(Step{Do: Reload, Unit: dockerService, Why: "it reads daemon.json again"})
		p.add(Step{Do: CheckMoved, Path: usualSocket})
	}
	if f.Remap != nil && (f.Engine == nil || len(f.Engine.Containers) == 0) {
		p.found(usualSocket)
	}
	if !m.Started {
		p.add(Step{Do: Stop, Unit: dockerService, Why: "it didn't run before"})
	}
	p.unremap(f, SubUID, SubGID)
	p.dropUsers(f)
	p.accounts(m)
	p.back(f, keep, func(path string) bool { return path != Daemon && !first(path) })
	p.add(Step{Do: ReadUnits})
	for _, dir := range slices.Backward(m.Folders) {
		p.add(Step{Do: RemoveDir, Path: dir})
	}
	p.undone(f)
	return p, nil
}

// back puts what was there before, last first.
func (p *Plan) back(f Facts, keep []string, chosen func(path string) bool) {
	for _, t := range slices.Backward(f.Before.Touched) {
		if !chosen(t.Path) {
			continue
		}
		if slices.Contains(keep, t.Path) {
			p.Notes = append(p.Notes, t.Path+" was changed since and stays.")
			continue
		}
		p.put(t.Path, f.Files[t.Path], t.Before, "as it was")
	}
}

// accounts puts people back into the group docker, and takes away the groups
// that were made; one that others have come into stays.
func (p *Plan) accounts(m *Manifest) {
	for _, v := range m.Moved {
		p.add(Step{Do: Join, User: v.User, Group: oldGroup})
		for _, g := range v.Joined {
			p.add(Step{Do: Leave, User: v.User, Group: g})
		}
	}
	for _, g := range slices.Backward(m.Groups) {
		p.add(Step{Do: DropGroup, Group: g, Why: "unless somebody is in it"})
	}
	if len(m.Accounts) > 0 {
		p.add(Step{Do: Settle})
	}
}

// undone says what is to be known afterwards.
func (p *Plan) undone(f Facts) {
	if f.Engine == nil {
		return
	}
	if f.Engine.Remapped && f.Remap != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("Images made since 'ds01 remap' stay in %s, which the engine doesn't look at afterwards; 'ds01 remap --undo' before this takes them along.", f.Engine.DataRoot))
	}
	if t, ok := f.Before.touched(Daemon); ok && p.changes(Daemon) && !saysLive(t.Before.Text) && len(f.Engine.Running()) > 0 {
		p.Notes = append(p.Notes, "The engine that runs goes on letting containers outlive it until it starts again; that start, as before ds01, ends them.")
	}
	var names []string
	for _, c := range f.Engine.Containers {
		if c.Ours {
			names = append(names, c.Name)
		}
	}
	if len(names) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Made through ds01: %s. What runs goes on; once stopped, docker alone can't start those with people's directories or GPUs.", strings.Join(names, ", ")))
	}
}
