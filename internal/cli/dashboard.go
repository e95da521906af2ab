package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) dashboard() *cobra.Command {
	var watch, asJSON bool
	return a.command(spec{
		use:   "dashboard",
		short: "Show GPUs, people and containers at a glance",
		long: "Shows every GPU with its use and holder, your use against your limits, and your containers; for admins\n" +
			"everybody's.",
		examples: []string{"ds01 dashboard", "ds01 dashboard --watch", "ds01 dashboard --json"},
		guide:    "This shows the whole host on one page. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&watch, "watch", "w", false, "refresh every 2 seconds until Ctrl-C")
		},
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			page := func(w io.Writer) error {
				d, err := c.Dashboard(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					d.GPUs, d.Containers, d.Users = list(d.GPUs), list(d.Containers), list(d.Users)
					return a.printJSON(d)
				}
				a.writeDashboard(w, d)
				return nil
			}
			if watch && !asJSON {
				return a.watch(ctx, page)
			}
			return page(a.Out)
		},
	})
}

func (a *app) writeDashboard(w io.Writer, d apitype.Dashboard) {
	engine := "engine down"
	if d.Version.EngineVersion != "" {
		engine = "engine " + d.Version.EngineVersion
	}
	fmt.Fprintf(w, "%s   %s   %s   GPUs by %s\n", d.Host, d.At.Local().Format("2006-01-02 15:04:05"), engine, d.Version.GPUProvider)
	for _, warning := range d.Warnings {
		fmt.Fprintln(w, a.paint(a.Out, yellow, "Warning:")+" "+warning)
	}
	fmt.Fprintln(w, "\nGPUs")
	gpus := table{indent: "  "}
	for _, g := range d.GPUs {
		use := 0.0
		if g.UtilizationPercent > 0 {
			use = float64(g.UtilizationPercent) / 100
		}
		until := ""
		if g.Holder != nil && g.Holder.Until != nil {
			until = "until " + clock(*g.Holder.Until, d.At)
		}
		gpus.add(g.Slot, g.Model, g.Profile, a.load(use)+" "+percent(g.UtilizationPercent), memoryOf(g), holder(g), until)
	}
	gpus.write(w)
	fmt.Fprintln(w, "\nPeople")
	for _, person := range d.Users {
		a.writeUsage(indented{w}, person)
	}
	fmt.Fprintln(w, "\nContainers")
	if len(d.Containers) == 0 {
		fmt.Fprintln(w, "  none")
		return
	}
	writeContainers(indented{w}, d.Containers, d.At, severalOwners(d.Containers))
}

func severalOwners(containers []apitype.Container) bool {
	for _, c := range containers {
		if c.UID != containers[0].UID {
			return true
		}
	}
	return false
}

// indented sets each write, which is a line, in by two spaces.
type indented struct{ to io.Writer }

// Write writes one line.
func (i indented) Write(line []byte) (int, error) {
	if _, err := fmt.Fprintf(i.to, "  %s", line); err != nil {
		return 0, fmt.Errorf("write a line: %w", err)
	}
	return len(line), nil
}
