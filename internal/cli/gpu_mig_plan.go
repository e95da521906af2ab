package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) gpuMIGPlan() *cobra.Command {
	var asJSON bool
	var f layoutFlags
	return a.command(spec{
		use: "plan FILE", short: "Show what a layout file would change (admins)",
		long: "Shows, card by card and step by step, what would be done for the cards to be as the file declares, what stays\n" +
			"untouched, and what is in the way: what somebody holds, processes, a reset. It changes nothing.\n" + aboutLayouts,
		examples: []string{"ds01 gpu mig plan layout.yaml", "ds01 gpu mig plan layout.yaml --config all-balanced", "ds01 gpu mig plan layout.yaml --json"},
		guide:    "This compares the cards with what a file declares, and says what would have to be done. It changes nothing.",
		exits:    exitsReading(), min: 1, max: 1, json: &asJSON, complete: completeFiles, flags: f.registerSkip,
		run: func(ctx context.Context, args []string) error {
			plan, err := a.planMIG(ctx, &f, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(plan)
			}
			a.writeMIGPlan(a.Out, plan)
			switch {
			case plan.Refusal != nil:
				fmt.Fprintln(a.Out, a.paint(a.Out, red, "It can't be applied now: something is in the way."))
			case declared(plan):
				fmt.Fprintln(a.Out, "There is nothing to do.")
			default:
				fmt.Fprintf(a.Out, "Applied now, it takes %s.\n", stepCount(plan.Steps))
			}
			return nil
		},
	})
}
