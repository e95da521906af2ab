package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/quantity"
)

// simFlags are the flags of "gpu sim set".
type simFlags struct {
	set    *pflag.FlagSet
	util   int
	memory string
	power  float64
	temp   int

	xid   int
	ecc   int64
	remap string
	pages bool
	lost  bool
	mute  bool
	pids  []int
}

func (f *simFlags) register(set *pflag.FlagSet) {
	f.set = set
	set.IntVar(&f.util, "util", 0, "utilisation in `PERCENT`")
	set.StringVar(&f.memory, "memory", "", "memory in use, `SIZE` such as 30GiB, or 0")
	set.Float64Var(&f.power, "power", 0, "power in `WATTS`")
	set.IntVar(&f.temp, "temp", 0, "temperature in `DEGREES` Celsius")
	set.IntVar(&f.xid, "xid", 0, "let the error with this `NUMBER` of NVIDIA's happen now")
	set.Int64Var(&f.ecc, "ecc", 0, "so `MANY` errors of a card's memory that couldn't be corrected")
	set.StringVar(&f.remap, "row-remap", "", "rows of a card's memory wait to be replaced, or can't be: `STATE` none, pending or failed")
	set.BoolVar(&f.pages, "retired-pages", false, "pages of a card's memory wait to be retired")
	set.IntSliceVar(&f.pids, "process", nil, "the processes with these `PIDS` use it from now on, 0: none does")
	set.BoolVar(&f.lost, "lost", false, "the card doesn't answer any more; --lost=false: it does again")
	set.BoolVar(&f.mute, "unreadable", false, "the driver fails to read what the card does; --unreadable=false: it can again")
}

func (a *app) gpuSimSet() *cobra.Command {
	var f simFlags
	return a.command(spec{
		use:   "set UUID",
		short: "Set what a simulated GPU reports (admins)",
		long: "Sets what a simulated device reports from now on, or lets it be ill, to try out what ds01 does then. What\n" +
			"isn't named stays as it is. On a host with real GPUs it fails.",
		examples: []string{
			"ds01 gpu sim set GPU-00000000-0000-0000-0000-000000000000 --util 80 --memory 30GiB --power 300 --temp 70",
			"ds01 gpu sim set GPU-00000000-0000-0000-0000-000000000000 --xid 79", "ds01 gpu sim set GPU-00000000-0000-0000-0000-000000000000 --row-remap pending",
		},
		guide: "This changes the numbers that a pretended GPU shows, to try out what ds01 does about them.",
		exits: exitsOfOne(), min: 1, max: 1, flags: f.register, complete: a.completeGPUs,
		run: func(ctx context.Context, args []string) error {
			reading, err := f.reading()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.SetSim(ctx, args[0], reading); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, args[0]+" is set.")
			return nil
		},
	})
}

// reading returns what the flags that were written say.
func (f *simFlags) reading() (apitype.SimReading, error) {
	var r apitype.SimReading
	if f.set.Changed("util") {
		r.UtilizationPercent = &f.util
	}
	if f.set.Changed("power") {
		r.PowerWatts = &f.power
	}
	if f.set.Changed("temp") {
		r.TemperatureC = &f.temp
	}
	if f.set.Changed("xid") {
		r.XID = &f.xid
	}
	if f.set.Changed("ecc") {
		r.ECCErrors = &f.ecc
	}
	if f.set.Changed("row-remap") {
		r.RowRemap = &f.remap
	}
	if f.set.Changed("retired-pages") {
		r.RetirePending = &f.pages
	}
	if f.set.Changed("process") {
		pids := slices.DeleteFunc(slices.Clone(f.pids), func(pid int) bool { return pid == 0 })
		r.Processes = &pids
	}
	if f.set.Changed("lost") {
		r.Lost = &f.lost
	}
	if f.set.Changed("unreadable") {
		r.Unreadable = &f.mute
	}
	if f.set.Changed("memory") {
		bytes, err := memoryInUse(f.memory)
		if err != nil {
			return r, usage("--memory is not understood", err.Error(), "Write --memory 30GiB.")
		}
		r.MemoryUsedBytes = &bytes
	}
	if r == (apitype.SimReading{}) {
		return r, usage("nothing to set", "no reading is given", "Write at least one of --util, --memory, --power, --temp, --xid, --ecc, --row-remap, --retired-pages, --process, --lost, --unreadable.")
	}
	return r, nil
}

// memoryInUse reads a size. Nothing in use is a sensible amount here, unlike
// in a limit.
func memoryInUse(text string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	bytes, err := quantity.ParseByteSize(text)
	if err != nil {
		return 0, fmt.Errorf("read the size: %w", err)
	}
	return int64(bytes), nil
}
