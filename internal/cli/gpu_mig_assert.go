package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/problem"
)

func (a *app) gpuMIGAssert() *cobra.Command {
	var asJSON bool
	var f layoutFlags
	return a.command(spec{
		use: "assert FILE", short: "Check that the cards are as a layout file declares (admins)",
		long: "Ends with 0 where every card that the file names is as declared, and with 1 and what differs where one isn't. It\n" +
			"changes nothing.\n" + aboutLayouts,
		examples: []string{"ds01 gpu mig assert layout.yaml", "ds01 gpu mig assert layout.yaml --json"},
		guide:    "This compares the cards with what a file declares. It changes nothing.",
		exits:    exitsReading(), min: 1, max: 1, json: &asJSON, complete: completeFiles, flags: f.register,
		run: func(ctx context.Context, args []string) error {
			plan, err := a.planMIG(ctx, &f, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(plan)
			} else {
				a.writeMIGPlan(a.Out, plan)
			}
			if err != nil || declared(plan) {
				return err
			}
			if asJSON {
				return exitError(exitFailed)
			}
			return &problem.Error{
				What: "the cards are not as declared", Why: errors.New("what differs is listed above"), Next: "Apply the layout with 'ds01 gpu mig apply'.",
			}
		},
	})
}
