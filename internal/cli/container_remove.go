package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/problem"
)

func (a *app) containerRemove() *cobra.Command {
	var force, yes bool
	return a.command(spec{
		use:     "remove NAME…",
		aliases: []string{"rm"},
		short:   "Delete containers",
		long: "Deletes containers and gives their GPUs back. What was written inside, outside of /workspace and other\n" +
			"mounts, is lost. A running container is refused without --force. It asks before, and without a terminal\n" +
			"it needs --yes or --force.",
		examples: []string{"ds01 container remove web", "ds01 container remove --yes web train", "ds01 container remove --force web"},
		guide: "This deletes containers. What you installed inside is lost; what is in /workspace stays on the host. " +
			"'ds01 container deploy NAME' makes a fresh one.",
		exits: exitsOfOne(), min: 1, max: -1, complete: a.completeContainers(-1, anyState),
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&force, "force", "f", false, "also one that runs, and don't ask")
			f.BoolVarP(&yes, "yes", "y", false, "don't ask")
		},
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if !yes && !force {
				if err := a.confirm(ctx, "Delete "+strings.Join(args, ", ")+"?"); err != nil {
					return err
				}
			}
			return a.progress("Removing", func() error {
				return a.each(args, func(name string) (string, error) {
					err := c.Remove(ctx, name, force)
					return name + " is removed.", withNext(err, problem.ErrConflict,
						"Stop it with 'ds01 container stop "+name+"', or add --force.")
				})
			})
		},
	})
}
