package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
)

func (a *app) containerRetire() *cobra.Command {
	var yes, keep bool
	return a.command(spec{
		use:   "retire NAME…",
		short: "Stop and delete containers, giving their GPUs back",
		long: "Stops containers in peace, deletes them and gives their GPUs back to the others at once. What is in\n" +
			"/workspace stays. With --keep-container they are only stopped, kept, and their GPUs given back. It asks before,\n" +
			"and without a terminal it needs --yes.",
		examples: []string{"ds01 container retire web", "ds01 container retire --yes web train"},
		guide: "This takes two steps: the container is stopped, then deleted. Its GPU is free for others at once. " +
			"What is in /workspace stays on the host.",
		exits: exitsOfOne(), min: 1, max: -1, complete: a.completeContainers(-1, anyState),
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&yes, "yes", "y", false, "don't ask")
			f.BoolVar(&keep, "keep-container", false, keepUsage)
		},
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if !yes {
				if err := a.confirm(ctx, retiring(keep)+strings.Join(args, ", ")+"?"); err != nil {
					return err
				}
			}
			return a.progress("Retiring", func() error {
				return a.each(args, func(name string) (string, error) { return retire(ctx, c, name, keep) })
			})
		},
	})
}

func retiring(keep bool) string {
	if keep {
		return "Stop and keep "
	}
	return "Stop and delete "
}

func retire(ctx context.Context, c *client.Client, name string, keep bool) (string, error) {
	container, err := c.Container(ctx, name)
	if err != nil {
		return "", err
	}
	if keep {
		if _, err := c.Stop(ctx, name, apitype.StopContainer{Keep: true, GiveBack: true}); err != nil {
			return "", err
		}
		return name + " is stopped and kept. Given back: " + held(container) + ".", nil
	}
	if live(container) {
		if _, err := c.Stop(ctx, name, apitype.StopContainer{}); err != nil {
			return "", err
		}
	}
	if err := c.Remove(ctx, name, false); err != nil {
		return "", err
	}
	text := name + " is retired."
	if holding(container) != none {
		text += " Given back: " + held(container) + "."
	}
	if container.Workspace != "" {
		text += " Your files stay in " + container.Workspace + "."
	}
	return text, nil
}
