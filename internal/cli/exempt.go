package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

// exempt is the noun for who is let be.
func (a *app) exempt() *cobra.Command {
	return noun("exempt", "Who isn't held to times, and why", a.exemptAdd(), a.exemptList(), a.exemptRemove())
}

func (a *app) exemptAdd() *cobra.Command {
	var asJSON bool
	var until string
	var want apitype.Exemption
	return a.command(spec{
		use: "add USER", short: "Let a person's containers be (admins)",
		long: "Exempts one person: from idle their containers lose no GPU and aren't stopped for doing nothing, from runtime they\n" +
			"may run for longer than max_runtime, from hold they aren't removed after they stop. Another exemption of theirs\n" +
			"is replaced. All other limits hold.",
		examples: []string{
			"ds01 exempt add alice --from idle --reason 'live demonstration' --until 2d",
			"ds01 exempt add bob --from idle,runtime --reason thesis --until 2030-03-31",
		},
		guide: "This lets a person's containers run without work, or for longer, than limits say.",
		exits: exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeUsers,
		flags: func(f *pflag.FlagSet) {
			f.StringSliceVar(&want.From, "from", nil, "`CAUSES`: idle, runtime, hold")
			f.StringVar(&want.Reason, "reason", "", "`TEXT` for those who ask")
			f.StringVar(&until, "until", "", "end, a `TIME` such as 2030-01-31, or 2d from now (default: for good)")
		},
		run: func(ctx context.Context, args []string) error {
			want.User = args[0]
			if until != "" {
				end, err := a.when("--until", until, a.now())
				if err != nil {
					return err
				}
				want.Until = &end
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.Exempt(ctx, want)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(made)
			}
			end := "for good"
			if made.Until != nil {
				end = "until " + a.day(made.Until)
			}
			fmt.Fprintf(a.Out, "%s is exempt from %s %s: %s.\n", made.User, strings.Join(made.From, ", "), end, made.Reason)
			return nil
		},
	})
}

func (a *app) exemptList() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "list", aliases: []string{"ls"}, short: "Show who is exempt from what (admins)",
		long:     "Lists exemptions with who granted them and why, also those whose time is over.",
		examples: []string{"ds01 exempt list", "ds01 exempt list --json"},
		guide:    "This shows who isn't held to times. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Exemptions(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(all))
			}
			if len(all) == 0 {
				fmt.Fprintln(a.Out, "Nobody is exempt from anything.")
				return nil
			}
			var t table
			t.add("USER", "FROM", "SINCE", "UNTIL", "BY", "REASON")
			for _, e := range all {
				until := a.day(e.Until)
				if e.Until != nil && !a.now().Before(*e.Until) {
					until += " (over)"
				}
				t.add(e.User, strings.Join(e.From, ","), a.day(e.Made), until, e.By, e.Reason)
			}
			t.write(a.Out)
			return nil
		},
	})
}

func (a *app) exemptRemove() *cobra.Command {
	return a.command(spec{
		use: "remove USER", aliases: []string{"rm"}, short: "End a person's exemption (admins)",
		long:     "Ends an exemption. What has been idle or has run for too long by then is warned of first, as ever.",
		examples: []string{"ds01 exempt remove alice"},
		guide:    "This has limits hold again for a person.",
		exits:    exitsOfOne(), min: 1, max: 1, complete: a.completeUsers,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.Unexempt(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s is not exempt any more.\n", args[0])
			return nil
		},
	})
}
