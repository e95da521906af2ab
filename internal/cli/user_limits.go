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

func (a *app) userLimits() *cobra.Command {
	var all, asJSON bool
	return a.command(spec{
		use:   "limits [USER]",
		short: "Show what you may use, and use",
		long: "Shows your use against your limits as bars, marked at 80 and 100 %, then every limit with the rule it\n" +
			"comes from. A limit that nothing enforces yet says so. Admins see anybody's.",
		examples: []string{"ds01 user limits", "ds01 user limits alice", "ds01 user limits --all --json"},
		guide: "This shows how much of the machine you may use, and how much of that you use now. " +
			"A bar that is full means that the next container will be refused until you give something back.",
		exits: append([]int{3}, exitsReading()...), max: 1, json: &asJSON, complete: a.completeOneUser,
		flags: func(f *pflag.FlagSet) { f.BoolVarP(&all, "all", "a", false, "everybody's (admins)") },
		run: func(ctx context.Context, args []string) error {
			if all && len(args) > 0 {
				return usage("not clear whose limits", "a USER and --all are given", "Leave one of them out.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var people []apitype.UserLimits
			if all {
				people, err = c.AllLimits(ctx)
			} else {
				people, err = c.Limits(ctx, strings.Join(args, ""))
			}
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(people))
			}
			for i, person := range people {
				if i > 0 {
					fmt.Fprintln(a.Out)
				}
				a.writeUsage(a.Out, person)
				if !all {
					writeLimits(a.Out, person)
				}
			}
			return nil
		},
	})
}

func (a *app) completeOneUser(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeUsers(c, args, word)
}

// writeUsage prints who a person is and their bars.
func (a *app) writeUsage(w io.Writer, u apitype.UserLimits) {
	group := "no group"
	if u.Group != "" {
		group = "group " + u.Group
	}
	if len(u.OtherGroups) > 0 {
		group += " (also in " + strings.Join(u.OtherGroups, ", ") + ")"
	}
	if u.Override {
		group += ", with limits of their own"
	}
	fmt.Fprintf(w, "%s, %s\n", u.User, group)
	t := table{indent: "  "}
	for _, use := range u.Usage {
		t.add(use.Label, a.usageBar(use), use.Text)
	}
	t.write(w)
}

// usageBar draws a use against its limit; without a limit there is no bar.
func (a *app) usageBar(u apitype.Usage) string {
	switch {
	case u.Unlimited:
		return none
	case u.Limit <= 0 && u.Used > 0:
		return a.bar(1)
	case u.Limit <= 0:
		return a.bar(0)
	default:
		return a.bar(u.Used / u.Limit)
	}
}

// forNow says what a limit is that can't be lowered yet.
func forNow(d apitype.Deferral) string {
	if d.ForNowBytes == 0 {
		return "no limit for now"
	}
	return size(d.ForNowBytes) + " for now"
}

func writeLimits(w io.Writer, u apitype.UserLimits) {
	fmt.Fprintln(w)
	t := table{indent: "  "}
	t.add("LIMIT", "VALUE", "FROM")
	for _, l := range u.Limits {
		from := l.Source
		if l.Inactive != "" {
			from += " (inactive: " + l.Inactive + ")"
		}
		if l.Deferred != nil {
			from += " (more is in use: " + forNow(*l.Deferred) + ")"
		}
		t.add(l.Key, l.Value, from)
	}
	t.write(w)
}
