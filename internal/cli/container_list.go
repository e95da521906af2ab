package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) containerList() *cobra.Command {
	var onlyRunning, onlyStopped, all, allUsers, asJSON bool
	return a.command(spec{
		use:     "list",
		aliases: []string{"ls", "ps"},
		short:   "List your containers",
		long: "Lists your containers in all states, with what they hold. SINCE is how long the state has lasted;\n" +
			"HELD UNTIL is when a stopped container gives its GPUs back. INTERFACE is what made it, ORIGIN where that\n" +
			"was asked for: terminal, ssh-command, cron, at, timer (of systemd's) or service (whatever runs by itself).\n" +
			"TIME is what it works at, or for how long it has been idle, and what happens next.",
		examples: []string{
			"ds01 container list",
			"ds01 container list --running",
			"ds01 container list --all-users --json",
		},
		guide: "This lists your containers. It changes nothing.",
		exits: exitsReading(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&onlyRunning, "running", false, "only those that run")
			f.BoolVar(&onlyStopped, "stopped", false, "only those that don't run")
			f.BoolVarP(&all, "all", "a", false, "all states, which is the default")
			f.BoolVar(&allUsers, "all-users", false, "everybody's (admins)")
		},
		run: func(ctx context.Context, _ []string) error {
			if moreThanOne(onlyRunning, onlyStopped, all) {
				return usage("--running, --stopped and --all contradict each other", "more than one is given", "Leave out all but one.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			containers, err := c.Containers(ctx, allUsers)
			if err != nil {
				return err
			}
			containers = slices.DeleteFunc(containers, func(c apitype.Container) bool {
				return onlyRunning && stopped(c) || onlyStopped && !stopped(c)
			})
			if asJSON {
				return a.printJSON(list(containers))
			}
			if len(containers) == 0 {
				fmt.Fprintln(a.Out, "No containers. 'ds01 container deploy NAME' makes one.")
				return nil
			}
			writeContainers(a.Out, containers, a.now(), allUsers)
			return nil
		},
	})
}

func moreThanOne(flags ...bool) bool {
	n := 0
	for _, on := range flags {
		if on {
			n++
		}
	}
	return n > 1
}

// writeContainers prints the table of containers, with their owners if there
// is more than one.
func writeContainers(w io.Writer, containers []apitype.Container, now time.Time, owners bool) {
	var t table
	header := []string{"NAME", "STATE", "IMAGE", "GPU", "SINCE", "HELD UNTIL", "INTERFACE", "ORIGIN", "TIME"}
	if owners {
		header = slices.Insert(header, 0, "USER")
	}
	t.add(header...)
	for _, c := range containers {
		row := []string{c.Name, state(c), c.Image, holding(c), since(c, now), ahead(c.HeldUntil, now), orNone(c.Interface), orNone(c.Origin), timeOf(c)}
		if owners {
			row = slices.Insert(row, 0, orNone(c.User))
		}
		t.add(row...)
	}
	t.write(w)
	for _, c := range containers {
		if c.ReservedFor != "" {
			fmt.Fprintf(w, "%s holds a GPU that is reserved for %s from %s: be done by then.\n", c.Name, c.ReservedFor, ahead(c.ReservedFrom, now))
		}
		for _, g := range c.GPUs {
			if g.Problem != "" && c.ClaimState != "released" {
				fmt.Fprintf(w, "%s holds GPU %s, which isn't granted any more: %s. Nothing is ended; save your work and be done with it.\n", c.Name, g.Slot, g.Problem)
			}
		}
		if k := c.OutOfMemory; k != nil {
			fmt.Fprintf(w, "%s (%s). %s\n", k.Why, rough(now.Sub(k.At))+" ago", k.Next)
		}
		if d := c.MemoryDeferred; d != nil {
			fmt.Fprintf(w, "%s is to have %s of memory, and uses more: %s, and less as it uses less. Nothing is ended.\n", c.Name, size(d.WantedBytes), forNow(*d))
		}
		if c.RestartProblem != "" {
			fmt.Fprintf(w, "%s is to be started again, and can't yet: %s. Next try: %s.\n", c.Name, c.RestartProblem, ahead(c.RestartAt, now))
		}
	}
}

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}
