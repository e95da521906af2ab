package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
)

func (a *app) containerAdopt() *cobra.Command {
	var name string
	return a.command(spec{
		use:   "adopt CONTAINER [USER]",
		short: "Give a quarantined container to a person (admins)",
		long: "A container that somebody made past ds01 is quarantined: only admins see it, and its GPUs count as\n" +
			"taken. This gives it to a person, with the GPUs it holds. 'container list --all-users' shows such ones.\n" +
			"The person may also be written as --user NAME.",
		examples: []string{"ds01 container adopt old-training alice", "ds01 container adopt 4f2a91 --user alice --name training"},
		guide:    "This makes a container that ds01 doesn't know the property of one person. Only admins may do that.",
		exits:    exitsGranting(), min: 1, max: 2,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&name, "name", "", "the person's `NAME` for it (default: from the engine's)")
		},
		complete: a.completeAdopt,
		run: func(ctx context.Context, args []string) error {
			owner := a.user
			if len(args) > 1 {
				owner = args[1]
			}
			if owner == "" {
				return usage("nobody to give "+args[0]+" to", "the command needs a USER", "Write it as: ds01 container adopt "+args[0]+" USER.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			adopted, err := c.As("").Adopt(ctx, args[0], apitype.Adopt{User: owner, Name: name})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s belongs to %s and holds %s.\n", adopted.Name, adopted.User, held(adopted))
			return nil
		},
	})
}

func (a *app) completeAdopt(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return a.completeUsers(c, args, word)
	}
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		everybodys, err := api.Containers(ctx, true)
		var names []string
		for _, one := range everybodys {
			if one.Quarantined && len(args) == 0 {
				names = append(names, one.Name)
			}
		}
		return names, err
	}), cobra.ShellCompDirectiveNoFileComp
}
