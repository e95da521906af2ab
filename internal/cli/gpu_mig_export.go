package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/layout"
)

func (a *app) gpuMIGExport() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "export", short: "Print the cards as a layout file (admins)",
		long: "Prints what the cards are cut into now as a layout file with one configuration, '" + layout.Current + "'. Applied at once, it\n" +
			"changes nothing. With --json it tells of each card too where its instances stand, and the ways to fill it.",
		examples: []string{"ds01 gpu mig export > layout.yaml", "ds01 gpu mig export --json"},
		guide:    "This prints what the cards are cut into, in the form in which it can be applied again. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			mig, err := c.MIG(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(mig)
			}
			fmt.Fprint(a.Out, layout.Encode(cardsOf(mig)))
			return nil
		},
	})
}

// cardsOf returns the cards as far as a layout speaks of them.
func cardsOf(mig apitype.MIG) []gpu.Card {
	var all []gpu.Card
	for _, c := range mig.Cards {
		card := gpu.Card{Index: c.Card, MIG: c.Enabled}
		for _, in := range c.Instances {
			card.Instances = append(card.Instances, gpu.Instance{Profile: in.Profile})
		}
		all = append(all, card)
	}
	return all
}
