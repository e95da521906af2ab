package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) gpuDrain() *cobra.Command {
	var asJSON bool
	var reason string
	return a.command(spec{
		use: "drain UUID|INDEX", short: "Keep a card from being granted (admins)",
		long: "Keeps a card and all MIG instances on it from being granted to anybody, until 'ds01 gpu undrain', also over\n" +
			"restarts. What runs there goes on, and the people whose it is are told on their terminals.",
		examples: []string{"ds01 gpu drain 1 --reason 'a fan is to be replaced'", "ds01 gpu drain GPU-00000000-0000-0000-0000-000000000000 --json"},
		guide:    "This keeps a GPU from being given to anybody, for instance before it is repaired. What runs on it goes on.",
		exits:    exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeCards,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&reason, "reason", "", "`TEXT` for those who ask")
		},
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			card, err := c.Drain(ctx, args[0], reason)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(card)
			}
			fmt.Fprintf(a.Out, "GPU %d is drained: nothing on it is granted until 'ds01 gpu undrain %d'.\n", card.Card, card.Card)
			if len(card.Holders) > 0 {
				fmt.Fprintf(a.Out, "It is still held by %s. They are told; nothing is ended.\n", strings.Join(card.Holders, ", "))
			}
			return nil
		},
	})
}

func (a *app) gpuUndrain() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "undrain UUID|INDEX", short: "Let a card be granted again (admins)",
		long:     "Ends what 'ds01 gpu drain' began. A card with which something else is wrong stays out of use, and that is said.",
		examples: []string{"ds01 gpu undrain 1"},
		guide:    "This lets a GPU be given to people again.",
		exits:    exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeCards,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			card, err := c.Undrain(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(card)
			}
			writeUndrained(a.Out, card)
			return nil
		},
	})
}

func writeUndrained(w io.Writer, card apitype.Card) {
	if card.Problem == "" {
		fmt.Fprintf(w, "GPU %d can be granted again.\n", card.Card)
		return
	}
	fmt.Fprintf(w, "GPU %d is not drained any more, and still isn't granted: %s.\n", card.Card, card.Problem)
	if card.Next != "" {
		fmt.Fprintln(w, card.Next)
	}
}
