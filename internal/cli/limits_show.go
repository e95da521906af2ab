package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/deploy"
)

func (a *app) limitsShow() *cobra.Command {
	var defaults bool
	return a.command(spec{
		use:      "show --defaults",
		short:    "Print the limits file that ds01 ships",
		long:     "Prints the commented limits file that a fresh installation starts from. It needs no daemon.",
		examples: []string{"ds01 limits show --defaults"},
		guide:    "This prints a limits file with every key explained, to copy and change.",
		flags:    func(f *pflag.FlagSet) { f.BoolVar(&defaults, "defaults", false, "the file that ds01 ships") },
		run: func(context.Context, []string) error {
			if !defaults {
				return usage("nothing to show", "only the shipped file can be shown",
					"Write 'ds01 limits show --defaults'; 'ds01 user limits' shows what applies to you.")
			}
			if _, err := a.Out.Write(deploy.DefaultLimits()); err != nil {
				return fmt.Errorf("print the file: %w", err)
			}
			return nil
		},
	})
}
