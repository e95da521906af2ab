package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) containerRename() *cobra.Command {
	return a.command(spec{
		use:   "rename NAME NEW",
		short: "Give a container another name",
		long: "Gives a container of yours another name. What it holds and what is mounted stays as it is: a workspace\n" +
			"keeps its directory on the host.",
		examples: []string{"ds01 container rename web shop"},
		guide:    "This gives your container another name. Nothing else about it changes.",
		exits:    exitsOfOne(), min: 2, max: 2, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			renamed, err := c.Rename(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s is called %s now.\n", args[0], renamed.Name)
			return nil
		},
	})
}
