package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func (a *app) containerPrune() *cobra.Command {
	var (
		yes, asJSON bool
		age         string
	)
	return a.command(spec{
		use:   "prune",
		short: "Delete all your containers that don't run",
		long: "Deletes those of your containers that don't run, and gives back what they keep. What was written inside,\n" +
			"outside of /workspace and other mounts, is lost. It asks before, and without a terminal it needs --yes.",
		examples: []string{"ds01 container prune", "ds01 container prune --older 7d --yes"},
		guide:    "This deletes your containers that don't run. What is in /workspace stays on the host.",
		exits:    exitsOfOne(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&yes, "yes", "y", false, "don't ask")
			f.StringVar(&age, "older", "", "only those made more than `DURATION` ago, such as 24h or 7d")
		},
		run: func(ctx context.Context, _ []string) error {
			before, err := a.olderThan(age)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			own, err := c.Containers(ctx, false)
			if err != nil {
				return err
			}
			names := prunable(own, before)
			if len(names) > 0 && !yes {
				if err := a.confirm(ctx, "Delete "+strings.Join(names, ", ")+"?"); err != nil {
					return err
				}
			}
			if len(names) == 0 && !asJSON {
				fmt.Fprintln(a.Out, "Nothing to delete.")
				return nil
			}
			return a.removeAll(ctx, names, asJSON, func(name string) error { return c.Remove(ctx, name, false) })
		},
	})
}

// olderThan returns the moment before which a container must have been made.
func (a *app) olderThan(age string) (time.Time, error) {
	if age == "" {
		return a.now(), nil
	}
	d, err := quantity.ParseDuration(age)
	if err != nil {
		return time.Time{}, usage("--older "+age+" is no duration", err.Error(), "Write it as 24h or 7d.")
	}
	return a.now().Add(-d), nil
}

// prunable returns the names of the containers that don't run, but for those
// that are still being made, and those made since.
func prunable(own []apitype.Container, before time.Time) []string {
	var names []string
	for _, c := range own {
		if stopped(c) && c.State != apitype.StatePending && !c.CreatedAt.After(before) {
			names = append(names, c.Name)
		}
	}
	return names
}

// removeAll removes containers and says which. One that was started meanwhile
// stays.
func (a *app) removeAll(ctx context.Context, names []string, asJSON bool, remove func(string) error) error {
	deleted := []string{}
	err := a.progress("Removing", func() error {
		for _, name := range names {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := remove(name); err != nil {
				return withNext(err, problem.ErrConflict, "It was started meanwhile: stop it, or leave it.")
			}
			deleted = append(deleted, name)
		}
		return nil
	})
	if asJSON {
		if perr := a.printJSON(map[string][]string{"deleted": deleted}); err == nil {
			err = perr
		}
		return err
	}
	for _, name := range slices.Sorted(slices.Values(deleted)) {
		fmt.Fprintln(a.Out, name+" is removed.")
	}
	return err
}
