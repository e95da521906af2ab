package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
)

func (a *app) gpuList() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:     "list",
		aliases: []string{"ls"},
		short:   "List the GPUs and who holds them",
		long: "Lists every device that can be held, a whole GPU or a MIG instance, one line each. Which container\n" +
			"holds a device, and until when, is shown for your own. Where a card is cut, a map shows each card with its\n" +
			"devices as wide as their share of it; on a terminal what is free is green, what is held yellow.",
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
				fmt.Fprintln(a.Out, "No GPU stands ready. 'ds01 gpu why' says what can be made for you, 'ds01 doctor' whether something is missing.")
				return nil
			}
			a.writeMap(a.Out, gpus)
			a.writeGPUs(a.Out, gpus, a.now())
			return nil
		},
	})
}

func (a *app) writeGPUs(w io.Writer, gpus []apitype.GPU, now time.Time) {
	var t table
	t.add("SLOT", "MODEL", "PROFILE", "MEMORY", "USE", "HOLDER", "UNTIL")
	for _, g := range gpus {
		until := none
		if g.Holder != nil {
			until = ahead(g.Holder.Until, now)
		}
		t.add(g.Slot, g.Model, g.Profile, memoryOf(g), percent(g.UtilizationPercent), a.paint(w, shade(g), holder(g)), until)
	}
	t.write(w)
}

// mapCells is how wide a whole card is drawn.
const mapCells = 56

// writeMap draws each card with its devices, where one of them is cut.
func (a *app) writeMap(w io.Writer, gpus []apitype.GPU) {
	if !slices.ContainsFunc(gpus, func(g apitype.GPU) bool { return g.Profile != gpu.Full }) {
		return
	}
	var t table
	for rest := gpus; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Card == rest[0].Card {
			n++
		}
		t.add(fmt.Sprint("GPU ", rest[0].Card), rest[0].Model, a.drawCard(w, rest[:n]))
		rest = rest[n:]
	}
	t.write(w)
	fmt.Fprint(w, "# held   . free   ! unusable\n\n")
}

// drawCard draws the devices of one card side by side: "|1.0 ####|1.1 ....|".
func (a *app) drawCard(w io.Writer, devices []apitype.GPU) string {
	var text strings.Builder
	drawn := 0
	for _, g := range devices {
		fill := "#"
		switch {
		case unusable(g):
			fill = "!"
		case g.Holder == nil:
			fill = "."
		}
		name := g.Slot + " "
		width := max(int(math.Round(g.Share*mapCells))-1, len(name)+1)
		drawn += width + 1
		text.WriteString("|" + a.paint(w, shade(g), name+strings.Repeat(fill, width-len(name))))
	}
	return text.String() + "|" + strings.Repeat(" ", max(mapCells-drawn, 0))
}

// shade is the colour of a device by whether it can be had.
func shade(g apitype.GPU) string {
	switch {
	case unusable(g):
		return red
	case g.Holder == nil:
		return green
	}
	return yellow
}

// unusable reports whether nobody is granted a device, whoever holds it.
func unusable(g apitype.GPU) bool { return g.Problem != "" || len(g.Strangers) > 0 }

func memoryOf(g apitype.GPU) string { return size(g.MemoryUsedBytes) + " of " + size(g.MemoryBytes) }

// holder writes who holds a device, as far as the daemon tells.
func holder(g apitype.GPU) string {
	switch {
	case g.Holder == nil && g.Problem != "":
		return "unusable: " + g.Problem
	case g.Holder == nil && len(g.Strangers) > 0:
		return "no claim: " + strangers(g)
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
	if len(g.Strangers) > 0 {
		text += "; no claim: " + strangers(g)
	}
	return text
}

// strangers names the processes that no claim explains.
func strangers(g apitype.GPU) string {
	names := make([]string, len(g.Strangers))
	for i, p := range g.Strangers {
		names[i] = gpu.Stranger{Process: gpu.Process{PID: p.PID}, User: p.User, Command: p.Command}.String()
	}
	return strings.Join(names, ", ")
}
