package takeover

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// refuseRemap gathers every reason against a switch.
func refuseRemap(f Facts, s Switch) error {
	begun := f.Remap != nil && !f.Remap.Whole
	switch {
	case f.Before == nil || !f.Before.Whole:
		return stays("ds01 is not installed here, or not to its end", "Run 'ds01 install' first.")
	case f.Engine == nil && !begun:
		return &problem.Error{What: engineStays, Why: problem.Because(problem.ErrUnavailable, "it doesn't answer"), Next: "Start it: systemctl start docker."}
	case s.Back && f.Remap == nil:
		return stays("it wasn't 'ds01 remap' that had it remap user namespaces", `Take "userns-remap" out of `+Daemon+" and restart the engine: docs/admins/install.md.")
	}
	all := []error{refuseRemapSettings(f, s), refuseUnits(f)}
	if f.Engine != nil {
		all = append(all, refuseContainers(f.Engine.Containers)) // also those made after it was cut off: it may have to return
	}
	if f.Engine != nil && f.Engine.Remapped == s.Back {
		all = append(all, refuseStored(f, s))
	}
	return errors.Join(all...)
}

const engineStays = "the engine stays as it is"

func stays(why, next string) error {
	return &problem.Error{What: engineStays, Why: problem.Because(problem.ErrConflict, why), Next: next}
}

func refuseRemapSettings(f Facts, s Switch) error {
	if s.Back {
		return nil
	}
	if now := f.Files[Daemon]; now.Kind != Absent && now.Kind != Regular {
		return stays(Daemon+" is a link, or no file", "Put the file itself there.")
	}
	all, err := settingsOf(f.Files[Daemon].Text)
	if err != nil {
		return stays(Daemon+" can't be read: "+err.Error(), "Correct it; dockerd says what it takes.")
	}
	_, ours := f.Remap.touched(Daemon)
	if i := index(all, remapKey); i >= 0 && (!ours || string(all[i].value) != asDefault) {
		return stays(fmt.Sprintf("%s says %q: %s already, and the engine that runs doesn't do it", Daemon, remapKey, all[i].value), "Take it out.")
	}
	if flagged(f.Docker.Command, remapKey) {
		return stays("the engine is started with --"+remapKey, "Take it out of docker.service.")
	}
	if _, _, err := subordinate(f.Files[SubUID].Text, f.Files[SubGID].Text); err != nil {
		return err
	}
	return nil
}

// refuseUnits refuses where something else stops with the engine.
func refuseUnits(f Facts) error {
	needed := slices.DeleteFunc(slices.Concat(f.Docker.Needed, f.Socket.Needed), func(u string) bool { return u == dockerService || u == ds01Service })
	if len(needed) == 0 {
		return nil
	}
	return stays("with the engine these units stop: "+strings.Join(needed, ", "), "Stop them first: systemctl stop "+strings.Join(needed, " ")+".")
}

func refuseContainers(all []Container) error {
	if len(all) == 0 {
		return nil
	}
	return stays("it has containers, which it would lose from sight: "+strings.Join(owned(all), ", "),
		"Announce it, have people save what they need, and remove them: ds01 container retire, or docker rm at the engine's own socket.")
}

// owned names containers with their owners.
func owned(all []Container) []string {
	var names []string
	for _, c := range all {
		names = append(names, fmt.Sprintf("%s of %s", c.Name, cmp.Or(c.Owner, "nobody known")))
	}
	return names
}

// refuseStored refuses what would be lost from sight beside containers, and
// what there is no room for.
func refuseStored(f Facts, s Switch) error {
	if f.Stored.Containerd {
		return stays("it keeps images by containerd, which knows them by other ids than a remapped engine does", `Set "features": {"containerd-snapshotter": false} in `+Daemon+", and load the images again.")
	}
	var all []error
	var full []string
	for _, v := range f.Stored.Volumes {
		if v.Full {
			full = append(full, v.Name)
		}
	}
	if len(full) > 0 && !s.LeaveVolumes {
		all = append(all, stays("these volumes have something in them: "+strings.Join(full, ", "),
			"Copy out what is needed; --leave-volumes leaves them where they are, in "+f.Engine.DataRoot+"."))
	}
	if need := f.need(s); need > f.Stored.Free {
		all = append(all, &problem.Error{
			What: engineStays,
			Why: problem.Because(problem.ErrExhausted, fmt.Sprintf("the images need about %s at %s, where %s are free",
				quantity.ByteSize(need).Rounded(), f.Engine.DataRoot, quantity.ByteSize(f.Stored.Free).Rounded())),
			Next: "Remove images that nobody needs: docker image prune, ds01 image delete.",
		})
	}
	return errors.Join(all...)
}

// refuseLoss refuses to undo a switch under containers.
func (f Facts) refuseLoss() error {
	if !f.remapped() || f.Engine == nil || len(f.Engine.Containers) == 0 {
		return nil
	}
	return &problem.Error{
		What: "ds01 is not uninstalled",
		Why: problem.Because(problem.ErrConflict,
			"'ds01 remap' is undone with it, and the engine would lose containers from sight: "+strings.Join(owned(f.Engine.Containers), ", ")),
		Next: "Remove them: ds01 container retire, or docker rm at the engine's own socket. What is only in volumes has to be copied out, too.",
	}
}
