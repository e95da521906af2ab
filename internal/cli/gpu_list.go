package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) gpuList() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:     "list",
		aliases: []string{"ls"},
		short:   "List the GPUs and who holds them",
		long: "Lists every device that can be held, a whole GPU or a MIG instance, one line each. Which container\n" +
			"holds a device, and until when, is shown for your own.",
		examples: []string{"ds01 gpu list", "ds01 gpu list --json"},
		guide:    "This lists the GPUs of this host. A big GPU may be divided into instances; each is a line. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			gpus, err := c.GPUs(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(gpus))
			}
			if len(gpus) == 0 {
				fmt.Fprintln(a.Out, "No GPUs. 'ds01 doctor' says what is missing.")
				return nil
			}
			writeGPUs(a.Out, gpus, a.now())
			return nil
		},
	})
}

func writeGPUs(w io.Writer, gpus []apitype.GPU, now time.Time) {
	var t table
	t.add("SLOT", "MODEL", "PROFILE", "MEMORY", "USE", "HOLDER", "UNTIL")
	for _, g := range gpus {
		until := none
		if g.Holder != nil {
			until = ahead(g.Holder.Until, now)
		}
		t.add(g.Slot, g.Model, g.Profile, memoryOf(g), percent(g.UtilizationPercent), holder(g), until)
	}
	t.write(w)
}

func memoryOf(g apitype.GPU) string { return size(g.MemoryUsedBytes) + " of " + size(g.MemoryBytes) }

// holder writes who holds a device, as far as the daemon tells.
func holder(g apitype.GPU) string {
	switch {
	case g.Holder == nil && g.Problem != "":
		return "unusable: " + g.Problem
	case g.Holder == nil:
		return "free"
	}
	text := orNone(g.Holder.User)
	if g.Holder.Container != "" {
		text += " (" + g.Holder.Container + ")"
	}
	if g.Holder.State != "running" {
		text += ", " + g.Holder.State
	}
	if g.Problem != "" {
		text += "; " + g.Problem
	}
	return text
}
