package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

// containerGPU is the noun for the GPUs of a container that there is already.
func (a *app) containerGPU() *cobra.Command {
	return noun("gpu", "The GPUs of a container of yours", a.containerGPUAdd(), a.containerGPURelease())
}

func (a *app) containerGPUAdd() *cobra.Command {
	var (
		f      gpuFlags
		asJSON bool
	)
	return a.completeGPUFlags(a.command(spec{
		use:   "add NAME",
		short: "Give a container more GPUs, while it runs",
		long: "Gives a container GPUs beside those that it has, within your limits. In one that runs, programs that are\n" +
			"started from then on can use them; on hosts where that can't be done, stop it first. One that gave its GPUs back gets\n" +
			"them all when it is started. It asks for them too whenever it is started again later.",
		examples: []string{"ds01 container gpu add train --gpus 1", "ds01 container gpu add train --profile 2g.20gb"},
		guide:    "This gives your container one GPU more, or several. What runs in it goes on.",
		exits:    exitsGranting(), min: 1, max: 1, json: &asJSON, flags: f.register, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			want, err := f.request()
			if err == nil && want == nil {
				err = usage("no GPU is added", "the command needs one to add", "Say what with --gpus, --profile, --gpu-memory or --full.")
			}
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			changed, err := c.AddGPUs(ctx, args[0], want.String())
			return a.sayHeld(changed, asJSON, err)
		},
	}))
}

// sayHeld tells what a container holds by now.
func (a *app) sayHeld(c apitype.Container, asJSON bool, err error) error {
	switch {
	case err != nil:
		return err
	case asJSON:
		return a.printJSON(c)
	case c.ClaimState == "released":
		fmt.Fprintf(a.Out, "%s is %s and holds no GPU; what it asks for when it is started has changed.\n", c.Name, c.State)
	default:
		fmt.Fprintf(a.Out, "%s is %s and holds %s.\n", c.Name, c.State, held(c))
	}
	return nil
}

func (a *app) containerGPURelease() *cobra.Command {
	var (
		r      apitype.ReleaseGPUs
		asJSON bool
	)
	return a.command(spec{
		use:   "release NAME",
		short: "Take GPUs from a container, while it runs",
		long: "Takes GPUs from a container, all or those that --device names, so that others can have them. The container\n" +
			"runs on, and doesn't ask for them again when it is started. Programs that have one open would keep it: they\n" +
			"are listed, and ended where you agree or say --force.",
		examples: []string{"ds01 container gpu release train", "ds01 container gpu release train --device 1.2", "ds01 container gpu release train --force"},
		flags: func(set *pflag.FlagSet) {
			set.StringSliceVar(&r.Devices, "device", nil, "`SLOT` or UUID of one of its GPUs; several times for several")
			set.BoolVarP(&r.Force, "force", "f", false, "end programs that have them open")
		},
		guide: "This gives GPUs of your container back, so that others can use them. Programs that use them now are ended, if you agree.",
		exits: exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			changed, err := a.release(ctx, c, args[0], r)
			return a.sayHeld(changed, asJSON, err)
		},
	})
}

// release asks before programs are ended.
func (a *app) release(ctx context.Context, c *client.Client, name string, r apitype.ReleaseGPUs) (apitype.Container, error) {
	changed, err := c.ReleaseGPUs(ctx, name, r)
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.Code != "DEVICE_IN_USE" || !a.interactive() {
		return changed, err
	}
	why := strings.ToUpper(p.Why.Error()[:1]) + p.Why.Error()[1:]
	if err := a.confirm(ctx, why+". End these programs?"); err != nil {
		return changed, err
	}
	r.Force = true
	return c.ReleaseGPUs(ctx, name, r)
}
