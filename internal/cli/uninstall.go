package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/installer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
)

// Words of --changed.
const (
	changedKeep    = "keep"
	changedRestore = "restore"
)

// uninstallFlags are what 'ds01 uninstall' is asked for.
type uninstallFlags struct {
	dryRun, yes, json, purge bool
	changed                  string
}

func (a *app) uninstall() *cobra.Command {
	var f uninstallFlags
	return a.command(spec{
		use:   "uninstall",
		short: "Take ds01 away again, and leave Docker as it was (root)",
		long: "Puts back what 'ds01 install' has changed, byte for byte, shown as a plan first. A file that somebody changed\n" +
			"since is shown as a diff, and asked about. Containers run on, and the engine listens where it did. Groups that\n" +
			"people have joined since stay. What ds01 knows, in /var/lib/ds01 and /var/log/ds01, stays without --purge.\n" +
			"It also takes back an installation that was cut off, and what 'ds01 remap' did.",
		examples: []string{"ds01 uninstall --dry-run", "ds01 uninstall", "ds01 uninstall --changed restore --yes"},
		guide:    "This makes Docker on this host what it was before ds01. People reach the engine as they did then. You are asked first.",
		exits:    []int{3, 5, 6, 7}, json: &f.json,
		flags: func(set *pflag.FlagSet) {
			set.StringVar(&f.changed, "changed", "", "what becomes of files that were changed since: keep or restore")
			set.BoolVar(&f.dryRun, "dry-run", false, "show what it would do, and change nothing")
			set.BoolVar(&f.purge, "purge", false, "remove who owns what, and the audit log, too")
			set.BoolVar(&f.yes, "yes", false, "do it without being asked")
		},
		run: func(ctx context.Context, _ []string) error { return a.runUninstall(ctx, f) },
	})
}

func (a *app) runUninstall(ctx context.Context, f uninstallFlags) error {
	if f.changed != "" && f.changed != changedKeep && f.changed != changedRestore {
		return usage("--changed "+f.changed+" is not understood", "it is keep or restore", "Write one of them.")
	}
	paths, _, err := a.installedAt()
	if err != nil {
		return err
	}
	i, closeUnits := a.installer(takeover.Wish{Engine: paths.Engine, Gateway: paths.Gateway})
	defer closeUnits()
	facts, changed, err := i.Removal(ctx)
	if err != nil {
		return err
	}
	keep, err := a.keeps(ctx, changed, f)
	if err != nil {
		return err
	}
	plan, err := takeover.Undo(facts, keep)
	if err != nil {
		return err
	}
	if f.dryRun || !f.json {
		if err := a.showPlan(plan, f.json, false); err != nil || f.dryRun {
			return err
		}
	}
	if f.purge && !f.json {
		fmt.Fprintln(a.Out, "Then /var/lib/ds01 and /var/log/ds01 are removed: who owns which container and image, who holds which GPU, and the audit log.")
	}
	if !f.yes {
		if err := a.confirm(ctx, "Do this?"); err != nil {
			return err
		}
	}
	if err := carryOut(ctx, i, plan, keep, f.purge); err != nil {
		return err
	}
	if f.json {
		return a.showPlan(plan, true, true)
	}
	fmt.Fprintln(a.Out, "ds01 is uninstalled; Docker is as it was.")
	return nil
}

func carryOut(ctx context.Context, i *installer.Installer, plan takeover.Plan, keep []string, purge bool) error {
	if err := i.Uninstall(context.WithoutCancel(ctx), plan, keep); err != nil { // half of it helps nobody
		return err
	}
	e, err := docker.New("/run/docker.sock")
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it was only asked
	if stay, err := installer.Tidy(ctx, e, purge); err != nil {
		return &problem.Error{
			What: "ds01 is uninstalled, but what it knows stays", Why: fmt.Errorf("something is on the networks %s: %w", strings.Join(stay, ", "), err),
			Next: "Remove those containers and networks with docker, then /var/lib/ds01 and /var/log/ds01: a ds01 that comes back without them can't make these networks.",
		}
	}
	if !purge {
		return nil
	}
	for _, dir := range []string{"/var/lib/ds01", "/var/log/ds01"} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what ds01 knows: %w", err)
		}
	}
	return nil
}

// keeps returns the changed files that are to stay.
func (a *app) keeps(ctx context.Context, changed []takeover.Changed, f uninstallFlags) ([]string, error) {
	var keep []string
	for _, c := range changed {
		switch {
		case f.changed == changedKeep:
			keep = append(keep, c.Path)
		case f.changed == changedRestore || f.dryRun:
		case !a.interactive():
			return nil, usage("ds01 is not uninstalled", c.Path+" was changed since ds01 was installed", "Say what becomes of such files: --changed keep, or --changed restore.")
		default:
			fmt.Fprintf(a.Out, "%s was changed since ds01 was installed. What was there before would change it so:\n", c.Path)
			a.showDiff(takeover.Diff(c.Path, c.Now.Text, c.Before.Text))
			yes, err := a.form(ctx).Confirm("Put back what was there before?", "--changed restore")
			if err != nil {
				return nil, err
			}
			if !yes {
				keep = append(keep, c.Path)
			}
		}
	}
	return keep, nil
}
