package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

// greetingTimeout is how long a login waits for the daemon.
const greetingTimeout = 2 * time.Second

func (a *app) greeting() *cobra.Command {
	return a.command(spec{
		use: "greeting", short: "Say what is news of your containers, at login",
		long: "Prints what is about to happen to your containers and which GPU is kept for you, a line each, and nothing\n" +
			"where there is no news. It keeps no login waiting: without an answer in two seconds it says nothing, and it\n" +
			"ends with 0 always. The package runs it from /etc/profile.d.",
		examples: []string{"ds01 greeting"},
		guide:    "This shows what you should know of your containers. It changes nothing.",
		run: func(ctx context.Context, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
			defer cancel()
			c, err := a.client()
			if err != nil {
				return nil // a login isn't where to tell
			}
			if containers, err := c.Containers(ctx, false); err == nil {
				a.greetContainers(containers)
			}
			if places, err := c.Queue(ctx); err == nil {
				a.greetPlaces(places)
			}
			return nil
		},
	})
}

func (a *app) greetContainers(containers []apitype.Container) {
	for _, c := range containers {
		if c.Time == nil {
			continue
		}
		for _, d := range c.Time.Deadlines {
			soon := d.LeftSeconds <= d.LimitSeconds/5 && d.Waits == ""
			if !soon || d.Cause == "idle" && c.Time.Activity != "" {
				continue
			}
			fmt.Fprintf(a.Out, "ds01: your container %s: %s. 'ds01 container list' says more.\n", c.Name, doneIn(d))
		}
		if c.OutOfMemory != nil {
			fmt.Fprintf(a.Out, "ds01: your container %s: %s\n", c.Name, c.OutOfMemory.Why)
		}
	}
}

func (a *app) greetPlaces(places []apitype.QueuePlace) {
	for _, p := range places {
		if p.Own && p.KeptUntil != nil {
			fmt.Fprintf(a.Out, "ds01: GPU %s is kept for you until %s.\n", strings.Join(p.Slots, ", "), clock(*p.KeptUntil, a.now()))
		}
	}
}
