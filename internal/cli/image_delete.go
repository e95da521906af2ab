package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/problem"
)

func (a *app) imageDelete() *cobra.Command {
	var force, yes bool
	return a.command(spec{
		use:     "delete NAME…",
		aliases: []string{"remove", "rm"},
		short:   "Delete images of yours",
		long: "Takes away your names of images. An image goes with its last name, unless somebody else made it too or\n" +
			"has a container of it: then they keep it. Shared images are deleted by admins. An image that a container\n" +
			"of yours uses is refused without --force, and one by its id that has several names. It asks before, and\n" +
			"without a terminal it needs --yes or --force.",
		examples: []string{"ds01 image delete app:1", "ds01 image delete --yes app:1 app:2", "ds01 image delete --force 3f2a9c1b7d5e"},
		guide:    "This deletes images. Containers that run go on. What you didn't push or save can't be fetched again.",
		exits:    exitsOfOne(), min: 1, max: -1, complete: a.completeImages(true),
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&force, "force", "f", false, "also one in use, or with several names, and don't ask")
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
			return a.progress("Deleting", func() error {
				return a.each(args, func(name string) (string, error) {
					steps, err := c.RemoveImage(ctx, name, force)
					for _, s := range steps {
						if s.Deleted != "" {
							return name + " is deleted.", err
						}
					}
					return name + " is taken away; the image stays: it has another name, or somebody needs it.",
						withNext(err, problem.ErrConflict, "See 'ds01 container list' for what uses it, or add --force.")
				})
			})
		},
	})
}
