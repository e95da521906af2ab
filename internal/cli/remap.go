package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/takeover"
	"ds01.dev/ds01/internal/volume"
)

// remapFlags are what 'ds01 remap' is asked for.
type remapFlags struct {
	dryRun, yes, json, undo, leave bool
	tester                         string
}

func (a *app) remap() *cobra.Command {
	var f remapFlags
	return a.command(spec{
		use:   "remap",
		short: "Have the engine remap user namespaces, and move its images (root)",
		long: "Root in a container is nobody on the host afterwards. Such an engine has a folder of its own, in which it finds\n" +
			"neither containers nor volumes or networks: it is refused while there is a container, and where volumes have\n" +
			"something in them, unless --leave-volumes lets them stay where they are. Images are copied, with ids and names,\n" +
			"so that they stay whose they are. Nothing is removed from the old folder. You see each step, each changed file\n" +
			"and each image first, and are asked. Nobody can use Docker meanwhile: announce it.\n" +
			"If a step fails, the engine returns to its old folder; where it was cut off, the same command goes on.\n" +
			"--undo is the way back, with what was made meanwhile; so is 'ds01 uninstall', without that.",
		examples: []string{"ds01 remap --dry-run", "ds01 remap", "ds01 remap --leave-volumes --yes", "ds01 remap --undo"},
		guide: "This changes how the engine of this host runs containers, and takes it away from everybody while images are copied. " +
			"First you see each step; nothing is done until you say yes. 'ds01 remap --undo' takes it back.",
		exits: []int{3, 4, 5, 6, 7, exitInterrupted}, json: &f.json,
		flags: func(set *pflag.FlagSet) {
			set.BoolVar(&f.dryRun, "dry-run", false, "show what it would do, and change nothing")
			set.BoolVar(&f.leave, "leave-volumes", false, "volumes with something in them stay behind in the old folder")
			set.StringVar(&f.tester, "test-user", "", "who tries a container at the end (default: you by sudo, else a member of docker-users)")
			set.BoolVar(&f.undo, "undo", false, "have the engine not remap again, as before")
			set.BoolVar(&f.yes, "yes", false, "do it without being asked")
		},
		run: func(ctx context.Context, _ []string) error { return a.runRemap(ctx, f) },
	})
}

func (a *app) runRemap(ctx context.Context, f remapFlags) error {
	paths, conf, err := a.installedAt()
	if err != nil {
		return err
	}
	wish := takeover.Wish{Engine: paths.Engine, Gateway: paths.Gateway}
	if wish.User, err = a.tester(ctx, conf, installFlags{tester: f.tester}); err != nil {
		return err
	}
	i, closeUnits := a.installer(wish)
	defer closeUnits()
	way := takeover.Switch{Back: f.undo, LeaveVolumes: f.leave}
	facts, plan, err := i.PlanRemap(ctx, way)
	if err != nil {
		return err
	}
	nothing := len(plan.Steps) == 0
	if f.dryRun || nothing || !f.json {
		if err := a.showPlan(plan, f.json, false); err != nil || f.dryRun || nothing {
			return err
		}
	}
	if !f.yes {
		if err := a.confirm(ctx, "Do this?"); err != nil {
			return err
		}
	}
	if err := i.Remap(ctx, facts, plan, way); err != nil {
		return a.broken(ctx, err)
	}
	if f.json {
		return a.showPlan(plan, true, true)
	}
	said := "The engine remaps user namespaces. 'ds01 remap --undo' takes it back."
	if f.undo {
		said = "The engine doesn't remap user namespaces any more."
	}
	fmt.Fprintln(a.Out, said)
	return nil
}

// recordVolumes writes down whose volumes are that ds01 doesn't know, while it
// is stopped.
func (a *app) recordVolumes(ctx context.Context, all []volume.Record) error {
	paths, _, err := a.hostPaths()
	if err != nil || len(all) == 0 {
		return err
	}
	s, err := store.Open(ctx, paths.Database)
	if err != nil {
		return err
	}
	known, err := s.Volumes(ctx)
	for _, v := range all {
		there := slices.ContainsFunc(known, func(k volume.Record) bool { return k.EngineName == v.EngineName })
		if err == nil && !there {
			err = s.SaveVolume(ctx, v)
		}
	}
	return errors.Join(err, s.Close())
}
