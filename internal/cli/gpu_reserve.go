package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/quantity"
)

func (a *app) gpuReservations() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "reservations", short: "Show which GPUs are reserved, for whom and when",
		long: "Lists what is reserved now and later, in the limits file and by command, and who holds some of it: whoever\n" +
			"does is asked to be done by the time it begins.",
		examples: []string{"ds01 gpu reservations", "ds01 gpu reservations --json"},
		guide:    "This shows which GPUs are reserved for somebody. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Reservations(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(all))
			}
			if len(all) == 0 {
				fmt.Fprintln(a.Out, "Nothing is reserved.")
				return nil
			}
			var t table
			t.add("ID", "USER", "GPUS", "FROM", "UNTIL", "REASON", "HELD BY", "SOURCE")
			for _, r := range all {
				t.add(orNone(r.ID), r.User, strings.Join(r.Devices, ","), a.day(r.From), a.day(r.Until), orNone(r.Reason),
					orNone(strings.Join(r.Holders, ", ")), r.Source)
			}
			t.write(a.Out)
			return nil
		},
	})
}

// day writes a moment, or that there is none.
func (*app) day(t *time.Time) string {
	if t == nil {
		return none
	}
	return t.Local().Format("2006-01-02 15:04")
}

func (a *app) gpuReserve() *cobra.Command {
	var asJSON bool
	var from, until string
	var want apitype.Reserve
	return a.command(spec{
		use: "reserve USER", short: "Reserve GPUs for somebody (admins)",
		long: "Keeps GPUs for one person from a time until another. Nobody else is given one of them whose work would reach\n" +
			"into that time; work that runs on is not ended, and its owner is warned. USER's own limits hold all the same.\n" +
			"What the limits file reserves is edited there.",
		examples: []string{
			"ds01 gpu reserve alice --devices 0,1.2 --until 2030-02-01",
			"ds01 gpu reserve alice --devices 1 --from 2030-01-31T08:00 --until 2030-01-31T18:00 --reason exam",
			"ds01 gpu reserve alice --devices 0 --until 2d",
		},
		guide: "This reserves GPUs for somebody. Others get none of them for work that would reach into that time.",
		exits: exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeUsers,
		flags: func(f *pflag.FlagSet) {
			f.StringSliceVar(&want.Devices, "devices", nil, "`SLOTS` as in 'ds01 gpu list': 0,1.2; a card stands for all its instances")
			f.StringVar(&from, "from", "", "beginning, a `TIME` such as 2030-01-31T08:00, or 2h from now (default now)")
			f.StringVar(&until, "until", "", "end, a `TIME` such as 2030-01-31T18:00, or 2d from the beginning")
			f.StringVar(&want.Reason, "reason", "", "`TEXT` for those who ask")
		},
		run: func(ctx context.Context, args []string) error {
			if len(want.Devices) == 0 || until == "" {
				return usage("what is to be reserved is missing", "--devices and --until are needed", "Such as: ds01 gpu reserve alice --devices 0 --until 2d.")
			}
			begin, err := a.when("--from", from, a.now())
			if err != nil {
				return err
			}
			end, err := a.when("--until", until, begin)
			if err != nil {
				return err
			}
			want.User, want.From, want.Until = args[0], &begin, &end
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.Reserve(ctx, want)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(made)
			}
			fmt.Fprintf(a.Out, "%s is reserved for %s from %s until %s (%s).\n", strings.Join(made.Devices, ", "), made.User, a.day(made.From), a.day(made.Until), made.ID)
			return nil
		},
	})
}

// when reads a moment: a date, a date and time, or so long after another.
func (*app) when(flag, text string, after time.Time) (time.Time, error) {
	if text == "" {
		return after, nil
	}
	if d, err := quantity.ParseDuration(text); err == nil {
		return after.Add(d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return after, usage(flag+" "+text+" is no time", "it is neither a date nor so long", "Write 2030-01-31, 2030-01-31T08:00, or 2h.")
}

// completeReservations completes those made by command, with whose they are.
func (a *app) completeReservations(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		all, err := api.Reservations(ctx)
		var ids []string
		for _, r := range all {
			if r.ID != "" && !slices.Contains(args, r.ID) {
				ids = append(ids, fmt.Sprintf("%s\t%s, %s", r.ID, r.User, strings.Join(r.Devices, " ")))
			}
		}
		return ids, err
	}), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) gpuUnreserve() *cobra.Command {
	return a.command(spec{
		use: "unreserve ID…", short: "Remove reservations (admins)",
		long:     "Removes reservations that were made with 'ds01 gpu reserve'. Those of the limits file are removed there.",
		examples: []string{"ds01 gpu unreserve 0123456789abcdef"},
		guide:    "This removes a reservation: its GPUs are for everybody again.",
		exits:    exitsOfOne(), min: 1, max: -1, complete: a.completeReservations,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var failed []error
			for _, id := range args {
				if err := c.Unreserve(ctx, id); err != nil {
					failed = append(failed, err)
					continue
				}
				fmt.Fprintf(a.Out, "Reservation %s is removed.\n", id)
			}
			return errors.Join(failed...)
		},
	})
}
