package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/quantity"
)

func (a *app) containerLogs() *cobra.Command {
	var (
		follow      bool
		tail, since string
	)
	return a.command(spec{
		use:   "logs NAME",
		short: "Show what a container has written",
		long:  "Shows what the container's own program has written, which isn't what a shell in it shows.",
		examples: []string{
			"ds01 container logs web",
			"ds01 container logs --follow --tail 20 train",
			"ds01 container logs --since 30m train",
		},
		guide: "This shows the output of the program that the container was made to run. With --follow it goes on until Ctrl-C.",
		exits: exitsOfOne(), min: 1, max: 1, complete: a.completeContainers(1, anyState),
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&follow, "follow", "f", false, "go on as more is written")
			f.StringVarP(&tail, "tail", "n", "all", "only the last `LINES`")
			f.StringVar(&since, "since", "", "only from `TIME` on: 30m ago, or 2030-01-02T15:04:05Z")
		},
		run: func(ctx context.Context, args []string) error {
			lines, err := parseTail(tail)
			if err != nil {
				return err
			}
			from, err := parseSince(since, a.now())
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			container, err := c.Container(ctx, args[0])
			if err != nil {
				return err
			}
			return c.Logs(ctx, container.ID, client.LogOptions{Follow: follow, Tail: lines, Since: from}, a.Out, a.Err)
		},
	})
}

func parseTail(text string) (int, error) {
	if text == "all" {
		return 0, nil
	}
	lines, err := strconv.Atoi(text)
	if err != nil || lines < 1 {
		return 0, usage("--tail "+text+" is not understood", "it is not a number of lines", "Write --tail 20, or --tail all.")
	}
	return lines, nil
}

// parseSince reads a moment, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := quantity.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage("--since "+text+" is not understood", "it is neither a duration nor a time",
			"Write --since 30m, or --since 2030-01-02T15:04:05Z.")
	}
	return at, nil
}
