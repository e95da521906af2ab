package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) containerCreate() *cobra.Command {
	var (
		f      requestFlags
		asJSON bool
	)
	return a.completeGPUFlags(a.command(spec{
		use:   "create [NAME] [IMAGE]",
		short: "Make a container without starting it",
		long: "Makes a container of an image, with your uid, your home and a workspace, and reserves its GPUs.\n" +
			"It isn't started; a container that is never started gives its GPUs back after a while.\n" +
			"Without a NAME, and with somebody at the terminal, it asks.\n" +
			"A script that makes containers in several steps can say so by DS01_CONTEXT=orchestration in its environment:\n" +
			"it is what INTERFACE of 'container list' shows instead of atomic, and changes nothing else.",
		examples: []string{
			"ds01 container create web",
			"ds01 container create web --image pytorch/pytorch --gpus 2 --data /data/shared",
			"ds01 container create jobs --gpus 2 --profile 1g.10gb",
			"ds01 container create big --gpu-memory 40GiB",
			"ds01 container create notes --cpu-only",
		},
		guide: "This makes a container: a room of its own for your programs, made from an image. " +
			"Your directory ~/workspace/NAME is /workspace inside. What you keep there stays when the container goes.",
		exits: exitsGranting(), max: 2, json: &asJSON, flags: f.register,
		run: func(ctx context.Context, args []string) error {
			madeBy, err := a.madeBy()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := a.create(ctx, c, &f, args, madeBy)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(made)
			}
			fmt.Fprintf(a.Out, "%s is created and holds %s.\nStart it and open a shell: ds01 container run %s\n", made.Name, held(made), made.Name)
			return nil
		},
	}))
}

// madeBy returns what the script that runs the command makes containers by.
func (a *app) madeBy() (string, error) {
	switch by := a.env("DS01_CONTEXT"); by {
	case "":
		return label.Atomic, nil
	case label.Atomic, label.Orchestration:
		return by, nil
	default:
		return "", usage(fmt.Sprintf("DS01_CONTEXT is %q", by), "it only says by what a script makes containers, atomic or orchestration", "Unset it.")
	}
}

// create makes a container and leaves nothing half-made: a failure takes the
// workspace directory back, and so does an interruption the container.
func (a *app) create(ctx context.Context, c *client.Client, f *requestFlags, args []string, madeBy string) (apitype.Container, error) {
	ask, dir, err := a.request(ctx, c, f, args)
	if err != nil {
		return apitype.Container{}, err
	}
	ask.Interface = madeBy
	var made apitype.Container
	// Not interruptible: the daemon finishes what it began, and a container
	// that nobody waited for would hold a GPU.
	said := make(chan struct{})
	unless := context.AfterFunc(ctx, func() {
		defer close(said)
		fmt.Fprintln(a.Err, "Interrupted: waiting for the daemon, to undo what it began. Ctrl-C again leaves at once.")
	})
	err = a.inTurn(ctx, c, &f.waitFlags, apitype.JoinQueue{GPUs: ask.GPUs, Wanted: ask.Wanted, TimeSeconds: ask.TimeSeconds}, func() error {
		return a.progressOf(whileCutting(ctx, c, "Creating "+ask.Name), func() error {
			made, err = c.Create(context.WithoutCancel(ctx), ask)
			return err
		})
	})
	if !unless() {
		<-said // before what comes of it is
	}
	if err == nil && ctx.Err() != nil {
		err = a.undo(ctx, c, made, ctx.Err())
	}
	if err != nil {
		if dir != "" {
			_ = os.Remove(dir) // stays if something is in it by now
		}
		return apitype.Container{}, withNext(err, problem.ErrConflict,
			"Open it with 'ds01 container open "+ask.Name+"', or choose another name.")
	}
	for _, warning := range made.Warnings {
		fmt.Fprintln(a.Err, a.paint(a.Err, yellow, "Warning:")+" "+warning)
	}
	return made, nil
}

// undo removes a container that was made for a request which then failed, and
// returns why that failed.
func (a *app) undo(ctx context.Context, c *client.Client, made apitype.Container, why error) error {
	if err := c.Remove(context.WithoutCancel(ctx), made.Name, true); err != nil {
		fmt.Fprintf(a.Err, "The half-made container %s is left: %v\n  Remove it with 'ds01 container remove --force %s'.\n", made.Name, err, made.Name)
		return why
	}
	fmt.Fprintf(a.Err, "The half-made container %s is removed again.\n", made.Name)
	return why
}
