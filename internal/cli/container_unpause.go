package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) containerUnpause() *cobra.Command {
	return a.command(spec{
		use:      "unpause NAME…",
		aliases:  []string{"resume"},
		short:    "Let paused containers go on",
		long:     "Lets go on what 'pause' has made stand still, where it was.",
		examples: []string{"ds01 container unpause train"},
		guide:    "What runs in your paused container goes on where it was.",
		exits:    exitsOfOne(), min: 1, max: -1, complete: a.completeContainers(-1, paused),
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.each(args, func(name string) (string, error) {
				resumed, err := c.Unpause(ctx, name)
				return resumed.Name + " goes on.", err
			})
		},
	})
}
