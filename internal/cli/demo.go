package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) demo() *cobra.Command {
	var keep, end bool
	return a.command(spec{
		use:   "demo",
		short: "Show the whole system at work on this machine (root)",
		long: "Starts an engine and a daemon of its own in a scratch directory, gives GPU containers to two people who\n" +
			"are made for it, refuses a third, prints the dashboard, and takes everything away again.",
		examples: []string{"ds01 demo", "ds01 demo --keep", "ds01 demo --end"},
		guide:    "This shows everything ds01 does, with people and GPUs that are made up where there are none. It cleans up.",
		exits:    []int{7, exitInterrupted},
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&end, "end", false, "take away what --keep left")
			f.BoolVar(&keep, "keep", false, "leave it running at the end, and say how to use it")
		},
		run: func(ctx context.Context, _ []string) error {
			return a.entry.Demo(ctx, DemoOptions{Keep: keep, End: end, Out: a.Out, Err: a.Err})
		},
	})
}
