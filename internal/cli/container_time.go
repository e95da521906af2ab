package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/quantity"
)

func (a *app) containerExtend() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:   "extend NAME TIME",
		short: "Let a container run for longer",
		long: "Puts off when a container has run for as long as it may (your limit max_runtime), within your limit\n" +
			"max_extension, which counts for all extensions of one run together. Whoever starts it again begins anew.",
		examples: []string{"ds01 container extend train 4h", "ds01 container extend train 1d --json"},
		guide:    "This lets your container run for longer than it otherwise might.",
		exits:    exitsGranting(), min: 2, max: 2, json: &asJSON, complete: a.completeContainers(1, live),
		run: func(ctx context.Context, args []string) error {
			by, err := quantity.ParseDuration(args[1])
			if err != nil {
				return usage(args[1]+" is no time", err.Error(), "Write it with its unit, such as 4h.")
			}
			return a.onOne(ctx, asJSON, func(c *client.Client) (apitype.Container, error) { return c.Extend(ctx, args[0], by) }, func(c apitype.Container) string {
				return c.Name + " is put off: " + orNone(timeLeft(c, "runtime")) + "."
			})
		},
	})
}

func (a *app) containerKeep() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:   "keep NAME",
		short: "Keep a container when it stops",
		long: "Has a container kept when it stops, instead of removed after a while (your limit container_hold_after_stop):\n" +
			"what it has written beside its workspace stays too. Its GPU isn't kept. How many containers you may keep, for how\n" +
			"long and how large is your limit keep.",
		examples: []string{"ds01 container keep train", "ds01 container stop train --keep-container"},
		guide:    "This keeps your container when it stops, so that you can start it again later. Its GPU goes to others meanwhile.",
		exits:    exitsGranting(), min: 1, max: 1, json: &asJSON, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			return a.onOne(ctx, asJSON, func(c *client.Client) (apitype.Container, error) { return c.Keep(ctx, args[0], true) }, func(c apitype.Container) string {
				return c.Name + " is kept when it stops. 'ds01 container unkeep " + c.Name + "' lets it go."
			})
		},
	})
}

func (a *app) containerUnkeep() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:      "unkeep NAME",
		short:    "Let a container go again that is kept",
		long:     "Takes 'ds01 container keep' back: once it has been stopped for a while the container is removed.",
		examples: []string{"ds01 container unkeep train"},
		guide:    "This lets a container be removed some time after it stops. What is in its workspace stays.",
		exits:    exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			return a.onOne(ctx, asJSON, func(c *client.Client) (apitype.Container, error) { return c.Keep(ctx, args[0], false) }, func(c apitype.Container) string {
				return c.Name + " isn't kept any more: it is removed some time after it stops."
			})
		},
	})
}

func (a *app) containerProtect() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:      "protect NAME",
		short:    "Have nothing done to a container by itself (admins)",
		long:     "Has ds01 let a container be: it isn't stopped, loses no GPU and isn't removed for being idle, old or stopped.",
		examples: []string{"ds01 container protect --user alice train"},
		guide:    "This keeps a container from being stopped or removed by ds01 itself.",
		exits:    exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			return a.onOne(ctx, asJSON, func(c *client.Client) (apitype.Container, error) { return c.Protect(ctx, args[0], true) }, func(c apitype.Container) string {
				return c.Name + " is let be until 'ds01 container unprotect " + c.Name + "'."
			})
		},
	})
}

func (a *app) containerUnprotect() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:      "unprotect NAME",
		short:    "Treat a container as others again (admins)",
		long:     "Ends what 'ds01 container protect' began.",
		examples: []string{"ds01 container unprotect --user alice train"},
		guide:    "This has a container treated as every other one.",
		exits:    exitsOfOne(), min: 1, max: 1, json: &asJSON, complete: a.completeContainers(1, anyState),
		run: func(ctx context.Context, args []string) error {
			return a.onOne(ctx, asJSON, func(c *client.Client) (apitype.Container, error) { return c.Protect(ctx, args[0], false) }, func(c apitype.Container) string {
				return c.Name + " is treated as others again."
			})
		},
	})
}

// onOne does something to one container and says so.
func (a *app) onOne(_ context.Context, asJSON bool, do func(*client.Client) (apitype.Container, error), say func(apitype.Container) string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	changed, err := do(c)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(changed)
	}
	fmt.Fprintln(a.Out, say(changed))
	return nil
}

// timeOf writes how a container stands with its time, for a table: what it works
// at or how long it has been idle, and what happens to it next.
func timeOf(c apitype.Container) string {
	switch {
	case c.Time == nil:
		return none
	case c.Time.Protected:
		return "protected"
	}
	var parts []string
	if c.Time.Kept {
		parts = append(parts, "kept")
	}
	if c.Time.Activity != "" {
		parts = append(parts, "active: "+c.Time.Activity)
	}
	for _, d := range c.Time.Deadlines {
		switch {
		case d.Cause == "idle" && c.Time.Activity == "" && c.Time.Sampled:
			parts = append(parts, idleText(d))
		case d.Cause != "idle" && (d.LeftSeconds <= d.LimitSeconds/5 || stopped(c)):
			parts = append(parts, doneIn(d))
		}
	}
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, ", ")
}

func idleText(d apitype.Deadline) string {
	text := fmt.Sprintf("idle %s of %s", rough(inSeconds(d.SpentSeconds)), rough(inSeconds(d.LimitSeconds)))
	if d.Waits != "" {
		return text + " (" + d.Waits + ")"
	}
	return text + ": no GPU work, no terminal"
}

func doneIn(d apitype.Deadline) string {
	what := map[string]string{"take": "GPU taken back", "stop": "stopped", "remove": "removed"}[d.Action]
	if d.LeftSeconds == 0 {
		return what + " now"
	}
	return what + " in " + rough(inSeconds(d.LeftSeconds))
}

func inSeconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// timeLeft writes what happens for a cause, "" where nothing does.
func timeLeft(c apitype.Container, cause string) string {
	if c.Time == nil {
		return ""
	}
	for _, d := range c.Time.Deadlines {
		if d.Cause == cause {
			return doneIn(d)
		}
	}
	return ""
}
