package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
)

func (a *app) containerStop() *cobra.Command {
	var (
		set     *pflag.FlagSet
		seconds int
		every   bool
		keep    bool
	)
	return a.command(spec{
		use:   "stop NAME…",
		short: "Stop containers",
		long: "Asks what runs in the containers to end, and ends it after the grace period. Files stay. The GPUs are\n" +
			"kept for a while, so that a restart finds them; 'retire' gives them back at once.",
		examples: []string{"ds01 container stop web", "ds01 container stop --time 60 train", "ds01 container stop --all"},
		guide:    "This stops what runs in your containers. The containers and their files stay, and can be started again.",
		exits:    exitsOfOne(), max: -1, complete: a.completeContainers(-1, live),
		flags: func(f *pflag.FlagSet) {
			set = f
			f.IntVarP(&seconds, "time", "t", 0, "grace period in `SECONDS` (default: your limit stop_timeout)")
			f.BoolVarP(&every, "all", "a", false, "stop all that run")
			f.BoolVar(&keep, "keep-container", false, keepUsage)
		},
		run: func(ctx context.Context, args []string) error {
			if every == (len(args) > 0) {
				return usage("not clear what to stop", "the command needs either names or --all",
					"Write 'ds01 container stop NAME', or 'ds01 container stop --all'.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var grace *int
			if set.Changed("time") {
				grace = &seconds
			}
			if every {
				if args, err = runningNames(ctx, c); err != nil {
					return err
				}
			}
			if len(args) == 0 {
				fmt.Fprintln(a.Out, "Nothing runs.")
				return nil
			}
			return a.progress("Stopping", func() error {
				return a.each(args, func(name string) (string, error) {
					return a.stopOne(ctx, c, name, apitype.StopContainer{TimeoutSeconds: grace, Keep: keep})
				})
			})
		},
	})
}

func runningNames(ctx context.Context, c *client.Client) ([]string, error) {
	own, err := c.Containers(ctx, false)
	var names []string
	for _, one := range own {
		if live(one) {
			names = append(names, one.Name)
		}
	}
	return names, err
}

const keepUsage = "keep it when it stops, not its GPU (your limit keep says how many and for how long)"

// stop stops one container and says so.
func (a *app) stop(ctx context.Context, c *client.Client, name string, how apitype.StopContainer) error {
	return a.progress("Stopping "+name, func() error {
		return a.each([]string{name}, func(name string) (string, error) { return a.stopOne(ctx, c, name, how) })
	})
}

func (a *app) stopOne(ctx context.Context, c *client.Client, name string, how apitype.StopContainer) (string, error) {
	stopped, err := c.Stop(ctx, name, how)
	if err != nil {
		return "", err
	}
	return a.afterStop(stopped), nil
}

// afterStop says what a stopped container still holds.
func (a *app) afterStop(c apitype.Container) string {
	if holding(c) == none || c.HeldUntil == nil {
		return c.Name + " is stopped."
	}
	return fmt.Sprintf("%s is stopped. It keeps %s until %s; 'ds01 container retire %s' gives it back now.",
		c.Name, held(c), clock(*c.HeldUntil, a.now()), c.Name)
}
