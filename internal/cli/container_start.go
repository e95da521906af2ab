package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) containerStart() *cobra.Command {
	var w waitFlags
	return a.command(spec{
		use:   "start NAME…",
		short: "Start containers in the background",
		long: "Starts containers. One that gave its GPUs back gets the same ones if they are free, else others\n" +
			"that are what it asked for, and is refused while there are none.\n" +
			"One that runs already is left as it is.",
		examples: []string{"ds01 container start web", "ds01 container start web train", "ds01 container start train --wait --timeout 2h"},
		flags:    w.register,
		guide:    "This starts containers that are stopped. They run in the background; 'ds01 container open NAME' gets you in.",
		exits:    exitsGranting(), min: 1, max: -1, complete: a.completeContainers(-1, stopped),
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.progressOf(whileCutting(ctx, c, "Starting"), func() error {
				return a.each(args, func(name string) (string, error) {
					var started apitype.Container
					err := a.inTurn(ctx, c, &w, apitype.JoinQueue{Container: name}, func() (err error) {
						started, err = c.Start(ctx, name)
						return err
					})
					return fmt.Sprintf("%s is %s and holds %s.", started.Name, started.State, held(started)), err
				})
			})
		},
	})
}

// each does something to several containers at once and prints what came of
// it in the order of the names. What fails for one leaves the others alone.
func (a *app) each(names []string, do func(name string) (string, error)) error {
	var (
		said   = make([]string, len(names))
		failed = make([]error, len(names))
		all    sync.WaitGroup
	)
	for i, name := range names {
		all.Go(func() { said[i], failed[i] = do(name) })
	}
	all.Wait()
	for i := range names {
		if failed[i] == nil {
			fmt.Fprintln(a.Out, said[i])
		}
	}
	return errors.Join(failed...)
}
