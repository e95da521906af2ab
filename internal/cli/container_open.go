package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) containerOpen() *cobra.Command {
	return a.command(spec{
		use:     "open [NAME]",
		aliases: []string{"attach"},
		short:   "Open a shell in a container",
		long: "Opens a shell (bash where the image has it) in a container. One that is stopped is started first.\n" +
			"Leaving the shell leaves the container running. Without a terminal, the shell reads its commands from stdin.",
		examples: []string{"ds01 container open web"},
		guide: "This opens a shell in your container. Type 'exit' to leave; the container goes on. " +
			"Files in /workspace are yours on the host too.",
		exits: exitsGranting(), passes: true, max: 1, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			c, container, err := a.enter(ctx, args, "open", &waitFlags{})
			if err != nil {
				return err
			}
			return a.shell(ctx, c, container)
		},
	})
}

func (a *app) containerRun() *cobra.Command {
	var w waitFlags
	return a.command(spec{
		use:   "run [NAME]",
		short: "Start a container if need be, open a shell, and ask at the end",
		long: "Starts a container that is stopped, opens a shell in it and, on a terminal, asks after the shell\n" +
			"whether the container goes on. 'open' does the same without asking.",
		examples: []string{"ds01 container run web", "ds01 container run web --wait"},
		flags:    w.register,
		guide: "This starts your container if it is stopped, and opens a shell in it. " +
			"When you leave with 'exit' you are asked whether the container goes on.",
		exits: exitsGranting(), passes: true, max: 1, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			c, container, err := a.enter(ctx, args, "run", &w)
			if err != nil {
				return err
			}
			return a.shellThenAsk(ctx, c, container)
		},
	})
}

// enter finds the container that is meant and sees that it runs.
func (a *app) enter(ctx context.Context, args []string, verb string, w *waitFlags) (*client.Client, apitype.Container, error) {
	c, err := a.client()
	if err != nil {
		return nil, apitype.Container{}, err
	}
	container, err := a.pick(ctx, c, args, verb)
	if err != nil {
		return nil, container, withNext(err, problem.ErrNotFound, "'ds01 container list' shows yours; 'ds01 container deploy NAME' makes one.")
	}
	if running(container) {
		return c, container, nil
	}
	fmt.Fprintf(a.Err, "%s is %s; starting it.\n", container.Name, container.State)
	name := container.Name
	err = a.inTurn(ctx, c, w, apitype.JoinQueue{Container: name}, func() error {
		return a.progressOf(whileCutting(ctx, c, "Starting "+name), func() error {
			container, err = c.Start(ctx, name)
			return err
		})
	})
	return c, container, err
}

// pick returns the container that args names. Without a name it is the only
// one there is, or the one that is chosen.
func (a *app) pick(ctx context.Context, c *client.Client, args []string, verb string) (apitype.Container, error) {
	if len(args) > 0 {
		return c.Container(ctx, args[0])
	}
	own, err := c.Containers(ctx, false)
	switch {
	case err != nil:
		return apitype.Container{}, err
	case len(own) == 1:
		return own[0], nil
	case len(own) == 0:
		return apitype.Container{}, &problem.Error{
			What: "nothing to " + verb,
			Why:  problem.Because(problem.ErrNotFound, "you have no container"),
		}
	case !a.interactive():
		return apitype.Container{}, usage("no container named", fmt.Sprintf("you have %d", len(own)),
			"Write its name: ds01 container "+verb+" NAME.")
	}
	names := make([]string, len(own))
	for i, one := range own {
		names[i] = one.Name + ", " + state(one)
	}
	chosen, err := a.form(ctx).Choose("Which container?", "ds01 container "+verb+" NAME", names, 0)
	if err != nil {
		return apitype.Container{}, err
	}
	return own[chosen], nil
}
