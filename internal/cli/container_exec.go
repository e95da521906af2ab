package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/problem"
)

func (a *app) containerExec() *cobra.Command {
	var input, tty bool
	return a.command(spec{
		use:   "exec NAME -- COMMAND…",
		short: "Run a command in a running container",
		long: "Runs a command in a running container and ends with its exit code. As with docker exec, stdin is\n" +
			"connected with -i only, and -t gives the command a terminal. Ctrl-P Ctrl-Q there leaves it running.",
		examples: []string{
			"ds01 container exec web -- nvidia-smi",
			"ds01 container exec -it web -- python3",
			"ds01 container exec -i web -- tar -xf -",
		},
		guide: "This runs one command in your container and shows what it writes. The container goes on afterwards.",
		exits: exitsOfOne(), passes: true, min: 2, max: -1, raw: true, complete: a.completeContainers(1, running),
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&input, "interactive", "i", false, "connect stdin")
			f.BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
		},
		run: func(ctx context.Context, args []string) error {
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return usage("nothing to run", "no command is given", "Write it behind '--': ds01 container exec "+args[0]+" -- ls.")
			}
			if tty && input && !a.interactive() {
				return usage("cannot give the command a terminal", "stdin is not a terminal", "Leave out -t.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			container, err := c.Container(ctx, args[0])
			if err != nil {
				return err
			}
			if !running(container) {
				return &problem.Error{
					What: "cannot run a command in " + container.Name,
					Why:  problem.Because(problem.ErrConflict, "it is "+container.State),
					Next: "Start it with 'ds01 container start " + container.Name + "'.",
				}
			}
			return a.attach(ctx, c, container, session{command: command, input: input, tty: tty})
		},
	})
}
