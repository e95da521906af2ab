package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) containerStats() *cobra.Command {
	var watch, allUsers, asJSON bool
	return a.command(spec{
		use:   "stats",
		short: "Show what running containers use now",
		long: "Shows CPU (100 % is one core), memory, processes and GPUs of your running containers. A container that\n" +
			"is held back wanted more CPU than its limit in so much of the last half minute.",
		examples: []string{"ds01 container stats", "ds01 container stats --watch", "ds01 container stats --json"},
		guide:    "This shows what your running containers use at this moment. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&watch, "watch", "w", false, "refresh every 2 seconds until Ctrl-C")
			f.BoolVar(&allUsers, "all-users", false, "everybody's (admins)")
		},
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			page := func(w io.Writer) error {
				stats, err := c.Stats(ctx, allUsers)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(list(stats))
				}
				writeStats(w, stats, allUsers)
				return nil
			}
			if watch && !asJSON {
				return a.watch(ctx, page)
			}
			return page(a.Out)
		},
	})
}

// muchThrottled is from where on it is worth a word, in per cent of the time.
const muchThrottled = 25

func writeStats(w io.Writer, stats []apitype.Stats, owners bool) {
	if len(stats) == 0 {
		fmt.Fprintln(w, "Nothing runs.")
		return
	}
	var t table
	header := []string{"NAME", "CPU", "MEMORY", "PIDS", "GPU", "GPU USE", "GPU MEMORY"}
	if owners {
		header = slices.Insert(header, 0, "USER")
	}
	t.add(header...)
	for _, s := range stats {
		memory := size(s.MemoryBytes)
		if s.MemoryLimitBytes > 0 {
			memory += " of " + size(s.MemoryLimitBytes)
		}
		slots, use, used := gpuColumns(s.GPUs)
		cpu := fmt.Sprintf("%.1f %%", s.CPUPercent)
		if s.CPUThrottledPercent >= muchThrottled {
			cpu += fmt.Sprintf(" (held back %.0f %%)", s.CPUThrottledPercent)
		}
		row := []string{s.Name, cpu, memory, strconv.FormatInt(s.Pids, 10), slots, use, used}
		if owners {
			row = slices.Insert(row, 0, orNone(s.User))
		}
		t.add(row...)
	}
	t.write(w)
}

// gpuColumns writes several devices into three cells.
func gpuColumns(gpus []apitype.GPUUsage) (slots, use, memory string) {
	if len(gpus) == 0 {
		return none, none, none
	}
	var names, uses, sizes []string
	for _, g := range gpus {
		names = append(names, g.Slot)
		uses = append(uses, percent(g.UtilizationPercent))
		sizes = append(sizes, size(g.MemoryUsedBytes)+" of "+size(g.MemoryBytes))
	}
	return strings.Join(names, ", "), strings.Join(uses, ", "), strings.Join(sizes, ", ")
}
