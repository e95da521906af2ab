package takeover

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/quantity"
)

// Remapper is the account whose range of subordinate ids a remapped engine
// gives to containers. "userns-remap": "default" means this one.
const Remapper = "dockremap"

// remapKey is the engine's setting, and asDefault what it is set to.
const (
	remapKey  = "userns-remap"
	asDefault = `"default"`
)

// An Image is one that the engine has.
type Image struct {
	ID    string   `json:"id"`
	Names []string `json:"names"` // its tags
	Bytes int64    `json:"bytes"` // with its parents'
}

// References are what an image is asked for by: all its names, else its id.
func (i Image) References() []string {
	if len(i.Names) == 0 {
		return []string{i.ID}
	}
	return i.Names
}

// A Volume is one that the engine has.
type Volume struct {
	Name string
	Full bool // something is in it, or may be
}

// Stored is what an engine keeps in its folder beside containers.
type Stored struct {
	Images     []Image
	Volumes    []Volume
	Networks   []string // that somebody made
	Layers     int64    // bytes of all images; what several of them have counts once
	Free       int64    // bytes that are free where its folder is
	Containerd bool     // images are kept by containerd, which knows them by other ids
}

// A Switch is what an administrator asks for of user namespaces.
type Switch struct {
	Back         bool // to an engine that doesn't remap
	LeaveVolumes bool // volumes with something in them may stay behind
}

// remapped reports whether the engine remaps, or may be about to, by 'ds01
// remap'.
func (f Facts) remapped() bool {
	return f.Remap != nil && (f.Engine == nil || f.Engine.Remapped)
}

// Remap plans the switch of the engine to remapped user namespaces, or back. A
// remapped engine has a folder of its own, so that images are copied from the
// one to the other; nothing is removed from the folder that it leaves. A plan
// without steps has a note that says why. It is refused, with every reason,
// where something would be lost from sight, or where there is no room.
func Remap(f Facts, w Wish, s Switch) (Plan, error) {
	var p Plan
	switch {
	case !s.Back && f.Engine != nil && f.Engine.Remapped && (f.Remap == nil || f.Remap.Whole):
		p.Notes = append(p.Notes, "The engine remaps user namespaces already.")
		return p, nil
	case s.Back && f.Remap == nil && f.Engine != nil && !f.Engine.Remapped:
		p.Notes = append(p.Notes, "The engine doesn't remap user namespaces.")
		return p, nil
	}
	if err := refuseRemap(f, s); err != nil {
		return p, err
	}
	if err := p.turn(f, w, s, true); err != nil {
		return p, err
	}
	p.left(f, s)
	return p, nil
}

// Return plans the way out of a switch that failed: the engine as it was
// before, which finds its own folder again. It is refused where somebody has made
// a container meanwhile: ds01 may have been there again already.
func Return(f Facts, w Wish, s Switch) (Plan, error) {
	var p Plan
	if f.Engine != nil && f.Engine.Remapped != s.Back {
		if err := refuseContainers(f.Engine.Containers); err != nil {
			return p, err
		}
	}
	err := p.turn(f, w, Switch{Back: !s.Back}, false)
	return p, err
}

// turn adds the steps to a remapped engine, or to one that isn't, from wherever
// the host is. With copies it brings the images along and tries the result;
// without it returns to a folder that has them.
func (p *Plan) turn(f Facts, w Wish, s Switch, copies bool) error {
	if f.Ds01.Active {
		p.add(Step{Do: Stop, Unit: ds01Service, Why: "nobody makes anything meanwhile"})
	}
	before := f.Engine != nil && f.Engine.Remapped == s.Back // it hasn't been restarted yet
	if copies && f.Engine != nil {
		p.add(Step{Do: CheckEmpty, Path: w.Engine, Why: "it loses containers from sight"})
	}
	check := CheckPlain
	if s.Back {
		p.unremap(f, Daemon)
	} else {
		check = CheckRemapped
		if err := p.remap(f); err != nil {
			return err
		}
	}
	// Again after a copy that was cut off: the second engine may have shut this
	// one's containers out of the folder that both are in.
	again := copies && f.Remap != nil && !f.Remap.Whole
	restarts := before || again || f.Engine == nil || !f.Socket.Active
	if restarts {
		p.add(Step{Do: Stop, Unit: dockerSocket})
		p.add(Step{Do: Stop, Unit: dockerService})
		p.add(Step{Do: Start, Unit: dockerSocket})
		p.add(Step{Do: Start, Unit: dockerService})
	}
	p.add(Step{Do: check, Path: w.Engine})
	if restarts {
		p.found(w.Engine)
	}
	if copies {
		p.copies(f, s, before)
	}
	if s.Back {
		p.unremap(f, SubUID, SubGID)
		p.dropUsers(f)
	}
	p.add(Step{Do: Start, Unit: ds01Service})
	if copies {
		p.add(Step{Do: CheckDs01})
	}
	if copies && w.User != "" {
		p.add(Step{Do: CheckRun, User: w.User})
	}
	return nil
}

// found has what was in the engine's folder be whose it was. ds01 forgets what
// an engine doesn't show it.
func (p *Plan) found(socket string) {
	p.add(Step{Do: TidyNetworks, Path: socket, Why: "ds01 makes them again, and may not know these"})
	p.add(Step{Do: GiveVolumes, Path: socket})
}

// remap adds what a remapped engine needs.
func (p *Plan) remap(f Facts) error {
	if !f.User {
		p.add(Step{Do: AddUser, User: Remapper, Why: "its subordinate ids are those of containers"})
	}
	uids, gids, err := subordinate(f.Files[SubUID].Text, f.Files[SubGID].Text)
	if err != nil {
		return err
	}
	p.put(SubUID, f.Files[SubUID], f.Files[SubUID].with(uids), "ids of containers' users, which nobody on the host has")
	p.put(SubGID, f.Files[SubGID], f.Files[SubGID].with(gids), "ids of their groups")
	settings, err := remapping(f.Files[Daemon].Text)
	if err != nil {
		return stays(Daemon+" can't be read: "+err.Error(), "Correct it; dockerd says what it takes.")
	}
	p.put(Daemon, f.Files[Daemon], f.Files[Daemon].with(settings), "root in a container is nobody on the host")
	return nil
}

// copies adds the step that brings the images along.
func (p *Plan) copies(f Facts, s Switch, before bool) {
	step := Step{Do: CopyImages, Why: "with their ids and names; they stay in the folder that it leaves, too"}
	if before && f.Stored != nil {
		step.Images = f.missing(s)
	}
	p.add(step)
}

// missing returns the images that are to be copied. On the way back those are
// there that the engine once came with.
func (f Facts) missing(s Switch) []Image {
	if !s.Back {
		return f.Stored.Images
	}
	return slices.DeleteFunc(slices.Clone(f.Stored.Images), func(i Image) bool { return slices.Contains(f.Remap.Images, i.ID) })
}

// need returns how much room a switch takes: for what the images consist of,
// and twice for the largest, which the engine packs and unpacks on its way.
func (f Facts) need(s Switch) int64 {
	var all, largest int64
	for _, i := range f.missing(s) {
		all += i.Bytes
		largest = max(largest, i.Bytes)
	}
	if f.Stored.Layers > 0 {
		all = min(all, f.Stored.Layers)
	}
	return all + 2*largest
}

// Batches puts images together that are copied at once, as many as there is
// room for: what they have in common goes over once.
func Batches(all []Image, room int64) [][]Image {
	const most = 100 // so that a request with their names isn't too long
	var batches [][]Image
	var filled int64
	for _, i := range all {
		last := len(batches) - 1
		if last < 0 || filled+i.Bytes > room || len(batches[last]) == most {
			batches, filled, last = append(batches, nil), 0, last+1
		}
		batches[last] = append(batches[last], i)
		filled += i.Bytes
	}
	return batches
}

// left says what isn't found any more.
func (p *Plan) left(f Facts, s Switch) {
	if f.Stored == nil || f.Engine == nil || f.Engine.Remapped != s.Back {
		return
	}
	p.Notes = append(p.Notes, fmt.Sprintf("The images need about %s at %s, where %s are free. Until they are copied nobody has Docker or ds01.",
		quantity.ByteSize(f.need(s)).Rounded(), f.Engine.DataRoot, quantity.ByteSize(f.Stored.Free).Rounded()))
	var volumes []string
	for _, v := range f.Stored.Volumes {
		volumes = append(volumes, v.Name)
	}
	if len(volumes) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Volumes stay behind in %s, where the engine doesn't find them until it is switched back: %s.", f.Engine.DataRoot, strings.Join(volumes, ", ")))
	}
	if len(f.Stored.Networks) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Networks aren't taken along: %s. ds01 makes people's default ones again when they are needed; others are theirs to make again.", strings.Join(f.Stored.Networks, ", ")))
	}
	if s.Back {
		p.Notes = append(p.Notes, "Images that were removed since the engine remaps are there again: they are still in the folder that it returns to.")
	}
	p.Notes = append(p.Notes, "The cache of builds, and names of images by digest, aren't copied.")
}

// bare returns what is at a path without what 'ds01 remap' put there.
func (f Facts) bare(path string) File { return f.without(path, f.Files[path]) }

// without returns a file without what 'ds01 remap' put at its path.
func (f Facts) without(path string, now File) File {
	t, ok := f.Remap.touched(path)
	switch {
	case !ok || now.Kind != Regular || now.Same(t.Before):
		return now
	case now.Same(t.After):
		return t.Before
	}
	text := withoutRange(now.Text)
	if path == Daemon {
		text = withoutRemap(now.Text)
	}
	if len(text) == 0 && t.Before.Kind == Absent {
		return File{}
	}
	return now.with(text)
}

// unremap puts paths to what they are without 'ds01 remap', and returns the
// files as they are then.
func (p *Plan) unremap(f Facts, paths ...string) map[string]File {
	files := maps.Clone(f.Files)
	for _, path := range paths {
		files[path] = f.bare(path)
		p.put(path, f.Files[path], files[path], "as it was before 'ds01 remap'")
	}
	return files
}

// dropUsers removes the account that 'ds01 remap' made.
func (p *Plan) dropUsers(f Facts) {
	if f.Remap == nil {
		return
	}
	for _, u := range f.Remap.Users {
		p.add(Step{Do: DropUser, User: u})
	}
	p.add(Step{Do: SettleUsers})
}

// with returns a file with another content, whose it was before.
func (f File) with(text []byte) File {
	then := Content(text)
	if f.Kind == Regular {
		then.Mode, then.UID, then.GID = f.Mode, f.UID, f.GID
	}
	return then
}
