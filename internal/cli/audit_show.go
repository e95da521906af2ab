package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/quantity"
)

func (a *app) auditShow() *cobra.Command {
	var asJSON, denied bool
	var of, since string
	var limit int
	c := a.command(spec{
		use:   "show",
		short: "Show who asked for what, and what was decided (admins)",
		long: "Prints the last events of the audit log, oldest first: what was changed, what was refused and why, and what\n" +
			"the daemon did by itself. --json has everything that is known of each.",
		examples: []string{"ds01 audit show --since 1h", "ds01 audit show --user alice --denied", "ds01 audit show --json"},
		guide:    "This shows what people and the daemon did on this host, as it was written down. Only admins may see it.",
		exits:    exitsReading(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&of, "user", "", "only what `NAME` asked for, or what was NAME's")
			f.StringVar(&since, "since", "", "only the last `TIME`, such as 30m, 2h or 1d")
			f.BoolVar(&denied, "denied", false, "only what was refused")
			f.IntVar(&limit, "limit", 1000, "the last `N` events at most")
		},
		run: func(ctx context.Context, _ []string) error {
			var from time.Time
			if since != "" {
				ago, err := quantity.ParseDuration(since)
				if err != nil {
					return usage("--since "+since+" can't be used", err.Error(), "Write it as 30m, 2h or 1d.")
				}
				from = a.now().Add(-ago)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			events, err := c.Audit(ctx, of, from, denied, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(events))
			}
			a.writeEvents(events)
			return nil
		},
	})
	completeFlag(c, "user", a.completeUsers)
	return c
}

func (a *app) writeEvents(events []event.Event) {
	colours := map[event.Decision]string{event.Allowed: green, event.Denied: yellow, event.Failed: red}
	var t table
	t.add("TIME", "USER", "DECISION", "ACTION", "OBJECT", "OF", "WHY")
	for _, e := range events {
		action := e.Action
		if e.Action == "docker api" {
			action = e.Route
		}
		why := e.Why
		if e.Times > 0 {
			why = fmt.Sprintf("%d times: %s", e.Times, why)
		}
		t.add(e.Time.Local().Format("2006-01-02 15:04:05"), orNone(e.User), a.paint(a.Out, colours[e.Decision], string(e.Decision)),
			orNone(printable(action)), orNone(printable(e.Object)), orNone(e.Owner), orNone(printable(why)))
	}
	t.write(a.Out)
}

// printable keeps what a client wrote from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
