package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// updateFlags are what "container update" changes; what isn't given stays.
type updateFlags struct {
	memory, cpus, restart string
	pids                  int64
}

func (f *updateFlags) register(set *pflag.FlagSet) {
	set.StringVarP(&f.memory, "memory", "m", "", "memory it may use, such as `16g`")
	set.StringVar(&f.cpus, "cpus", "", "processors it may use, such as `2` or 0.5")
	set.Int64Var(&f.pids, "pids", 0, "`NUMBER` of processes it may have")
	set.StringVar(&f.restart, "restart", "", restartUsage)
}

const restartUsage = "`POLICY` when it ends by itself: no, always, unless-stopped, on-failure[:N]"

func (a *app) containerUpdate() *cobra.Command {
	var (
		f      updateFlags
		asJSON bool
	)
	return a.command(spec{
		use:   "update NAME",
		short: "Change what a container may use",
		long: "Changes memory, processors and processes of a container, running or not, within your limits, and whether\n" +
			"ds01 starts it again when it ends by itself. What isn't given stays as it is. It doesn't change its GPUs,\n" +
			"and it starts and stops nothing.",
		examples: []string{
			"ds01 container update web --memory 16g --cpus 4",
			"ds01 container update train --pids 500",
			"ds01 container update web --restart unless-stopped",
		},
		guide: "This changes how much of the host a container of yours may use, while it runs. Your own limits still hold: " +
			"'ds01 user limits' shows them.",
		exits: exitsOfOne(), min: 1, max: 1, json: &asJSON, flags: f.register, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			want, err := f.read()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			updated, err := c.Update(ctx, args[0], want)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(updated)
			}
			fmt.Fprintf(a.Out, "%s is updated. It is %s; restart policy: %s.\n", updated.Name, updated.State, updated.RestartPolicy)
			return nil
		},
	})
}

// read makes of the flags what the API is asked for.
func (f *updateFlags) read() (want apitype.UpdateContainer, err error) {
	if *f == (updateFlags{}) {
		return want, usage("nothing is to be changed", "the command needs a flag that says what", "Give --memory, --cpus, --pids or --restart.")
	}
	if f.memory != "" {
		size, err := quantity.ParseByteSize(f.memory)
		if err != nil || size <= 0 {
			return want, notMuch("--memory "+f.memory, err, "Write a size with its unit, such as --memory 16g.")
		}
		want.MemoryBytes = int64(size)
	}
	if f.cpus != "" {
		cpus, err := quantity.ParseCPUs(f.cpus)
		if err != nil || cpus <= 0 {
			return want, notMuch("--cpus "+f.cpus, err, "Write a number of processors, such as --cpus 2.")
		}
		want.NanoCPUs = int64(cpus)
	}
	if f.pids < 0 {
		return want, notMuch(fmt.Sprintf("--pids %d", f.pids), nil, "Write a number of processes, such as --pids 500.")
	}
	want.Pids, want.Restart = f.pids, f.restart
	return want, checkRestart(f.restart)
}

func notMuch(flag string, err error, next string) error {
	why := "it must be more than nothing"
	if err != nil {
		why = err.Error()
	}
	return usage(flag+" can't be set", why, next)
}

func checkRestart(policy string) error {
	if _, err := container.ParseRestartPolicy(policy); err != nil {
		return usage("--restart "+policy+" can't be set", err.Error(), "Write no, always, unless-stopped, on-failure or on-failure:N.")
	}
	return nil
}
