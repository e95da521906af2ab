package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) limitsDiff() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:      "diff FILE",
		short:    "Show what a limits file would change, and for whom (admins)",
		long:     "Compares the limits of everybody now with those under the file. Nothing is put into force.",
		examples: []string{"ds01 limits diff new-limits.yaml", "ds01 limits diff new-limits.yaml --json"},
		guide:    "This sends the file to the daemon, which works out everybody's limits with it and shows what differs.",
		exits:    exitsReading(), min: 1, max: 1, json: &asJSON, complete: completeFiles,
		run: func(ctx context.Context, args []string) error {
			file, err := readLimits(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			changes, err := c.DiffLimits(ctx, apitype.LimitsFile{Name: file.Name, YAML: string(file.Data)})
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(changes))
			}
			if len(changes) == 0 {
				fmt.Fprintln(a.Out, "Nothing changes for anybody.")
				return nil
			}
			var t table
			t.add("USER", "LIMIT", "BEFORE", "AFTER")
			for _, change := range changes {
				t.add(change.User, change.Key, orNone(change.Before), orNone(change.After))
			}
			t.write(a.Out)
			return nil
		},
	})
}
