package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

// deployOptions are the flags of "container deploy" beside what is wanted.
type deployOptions struct {
	requestFlags
	background bool
	open       bool
	json       bool
}

func (a *app) containerDeploy() *cobra.Command {
	var o deployOptions
	return a.completeGPUFlags(a.command(spec{
		use:   "deploy [NAME] [IMAGE]",
		short: "Make a container, start it and open a shell",
		long: "Makes a container and starts it, in one go; if one of the two fails, nothing is left behind.\n" +
			"On a terminal a shell opens, and leaving it asks whether the container goes on.\n" +
			"Without a terminal, or with --background, it goes on in the background.\n" +
			"Without a NAME, and with somebody at the terminal, it asks.",
		examples: []string{
			"ds01 container deploy web",
			"ds01 container deploy train --image pytorch/pytorch --gpus 1 --background",
			"ds01 container deploy mix --gpus 1g.10gb,2g.20gb",
			"ds01 container deploy whole --full",
			"ds01 container deploy notes --cpu-only --open",
			"ds01 container deploy train --background --json",
		},
		guide: "This takes two steps. First a container is made: a room of its own for your programs, made from an image, " +
			"with your directory ~/workspace/NAME as /workspace. Then it is started, and you can work in it.",
		exits: exitsGranting(), passes: true, max: 2, json: &o.json,
		flags: func(f *pflag.FlagSet) {
			o.register(f)
			f.BoolVar(&o.background, "background", false, "leave it running, open no shell")
			f.BoolVar(&o.open, "open", false, "open a shell")
		},
		run: func(ctx context.Context, args []string) error { return a.deploy(ctx, &o, args) },
	}))
}

func (a *app) deploy(ctx context.Context, o *deployOptions, args []string) error {
	if o.open && (o.background || o.json) {
		return usage("--open can't be with --background or --json", "a shell takes the terminal", "Leave one of them out.")
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := a.explain(ctx, "Step 1 of 2: make the container and reserve its GPU. From here on the GPU counts as yours."); err != nil {
		return err
	}
	made, err := a.create(ctx, c, &o.requestFlags, args, "orchestration")
	if err != nil {
		return err
	}
	if err := a.explain(ctx, "Step 2 of 2: start it. It runs until you stop it or a time limit ends it."); err != nil {
		return a.undo(ctx, c, made, err)
	}
	var started apitype.Container
	err = a.progress("Starting "+made.Name, func() error {
		started, err = c.Start(ctx, made.Name)
		return cmp.Or(err, ctx.Err()) // Ctrl-C that came too late for the daemon still counts
	})
	if err != nil {
		return a.undo(ctx, c, made, err)
	}
	if o.json {
		return a.printJSON(started)
	}
	a.summary(ctx, c, started)
	_, out := terminal(a.Out)
	if o.background || (!o.open && (!out || !a.interactive())) {
		return nil
	}
	return a.shellThenAsk(ctx, c, started)
}

// summary says how to get in, what the container holds, and until when.
func (a *app) summary(ctx context.Context, c *client.Client, container apitype.Container) {
	lines := table{indent: "  "}
	lines.add("Image", container.Image)
	lines.add("Holds", held(container))
	if limits, err := c.Limits(ctx, a.user); err == nil && len(limits) > 0 { // a summary without them is still one
		lines.add("Until", until(container, limits[0].Limits))
	}
	if container.Workspace != "" {
		lines.add("Workspace", container.Workspace+" is /workspace inside")
	}
	lines.add("Get in", "ds01 container open "+container.Name)
	lines.add("Give back", "ds01 container retire "+container.Name)
	fmt.Fprintf(a.Out, "%s is %s.\n", container.Name, container.State)
	lines.write(a.Out)
}

// until says what ends a container and when its GPU is given back, by the
// limits that are enforced.
func until(c apitype.Container, limits []apitype.Limit) string {
	active := map[string]string{}
	for _, l := range limits {
		if !l.Unlimited && l.Inactive == "" {
			active[l.Key] = l.Value
		}
	}
	text := "you stop it"
	if v := active["max_runtime"]; v != "" {
		text += ", or it has run for " + v
	}
	if v := active["idle_timeout"]; v != "" {
		text += ", or it has been idle for " + v
	}
	if v := active["gpu_hold_after_stop"]; v != "" && len(c.GPUs) > 0 {
		text += "; stopped, it keeps the GPU for " + v
	}
	return text
}

// shellThenAsk opens a shell and, once it is left, asks whether the container
// goes on. It ends with the shell's own exit code.
func (a *app) shellThenAsk(ctx context.Context, c *client.Client, container apitype.Container) error {
	ended := a.shell(ctx, c, container)
	var status exitError
	if ended != nil && !errors.As(ended, &status) {
		return withNext(ended, problem.ErrUnavailable, "The container goes on if the engine does: 'ds01 container list'.")
	}
	if !a.interactive() {
		return ended
	}
	choice, err := a.form(ctx).Choose("You left the shell. What about "+container.Name+"?", "",
		[]string{"keep it running", "stop it"}, 0)
	if err != nil || choice == 0 { // nobody answers: nothing is taken away
		fmt.Fprintf(a.Err, "%s goes on. Get in again: ds01 container open %s\n", container.Name, container.Name)
		return ended
	}
	if err := a.stop(ctx, c, container.Name, apitype.StopContainer{}); err != nil {
		return err
	}
	return ended
}
