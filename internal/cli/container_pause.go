package cli

import (
	"context"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) containerPause() *cobra.Command {
	return a.command(spec{
		use:   "pause NAME…",
		short: "Make containers stand still",
		long: "Stops everything that runs in the containers where it is, until 'unpause'. Memory and GPUs stay taken:\n" +
			"the time counts as idle.",
		examples: []string{"ds01 container pause train", "ds01 container pause train web"},
		guide:    "This makes everything in your container stand still. It goes on where it was with 'ds01 container unpause'.",
		exits:    exitsOfOne(), min: 1, max: -1, complete: a.completeContainers(-1, running),
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.progress("Pausing", func() error {
				return a.each(args, func(name string) (string, error) {
					paused, err := c.Pause(ctx, name)
					if err != nil {
						return "", err
					}
					return pausedText(paused), nil
				})
			})
		},
	})
}

func pausedText(c apitype.Container) string {
	text := c.Name + " is paused."
	if holding(c) != none {
		text += " It keeps " + held(c) + "."
	}
	return text + " 'ds01 container unpause " + c.Name + "' lets it go on."
}
