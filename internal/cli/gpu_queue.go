package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// gpuQueue is the noun for the queue; alone it lists it.
func (a *app) gpuQueue() *cobra.Command {
	list := a.gpuQueueList()
	c := noun("queue", "The queue for GPUs", list, a.gpuQueueJoin(), a.gpuQueuePosition(), a.gpuQueueLeave())
	help := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return help(c, args)
		}
		list.SetContext(c.Context())
		return list.RunE(list, nil)
	}
	return c
}

func (a *app) gpuQueueList() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "list", aliases: []string{"ls"}, short: "Show who waits for GPUs, in their order",
		long: "Lists those for whom a GPU is kept, and those who wait, in their order, with the reason for each place.\n" +
			"When it is somebody's turn is estimated from how long GPUs were held lately; '-' means that nobody knows.",
		examples: []string{"ds01 gpu queue list", "ds01 gpu queue list --json"},
		guide:    "This shows who waits for a GPU. It changes nothing.",
		exits:    exitsReading(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			places, err := c.Queue(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(list(places))
			}
			if len(places) == 0 {
				fmt.Fprintln(a.Out, "Nobody waits.")
				return nil
			}
			writeQueue(a.Out, places, a.now())
			return nil
		},
	})
}

func writeQueue(w io.Writer, places []apitype.QueuePlace, now time.Time) {
	var t table
	t.add("PLACE", "USER", "GPUS", "TURN", "WHY THERE", "ID")
	for _, p := range places {
		place, turn := strconv.Itoa(p.Position), ahead(p.Begins, now)
		if p.Position == 0 {
			place, turn = none, strings.Join(p.Slots, ", ")+" kept until "+ahead(p.KeptUntil, now)
		}
		t.add(place, p.User, wantedGPUs(p), turn, p.Reason, orNone(p.ID))
	}
	t.write(w)
}

func wantedGPUs(p apitype.QueuePlace) string {
	return cmp.Or(p.Wanted, strconv.Itoa(p.GPUs))
}

func (a *app) gpuQueueJoin() *cobra.Command {
	var asJSON bool
	var gpus, lasts string
	return a.completeGPUFlags(a.command(spec{
		use: "join [CONTAINER]", short: "Take a place in the queue for GPUs",
		long: "Takes a place, which stays when you log out. When it is your turn the GPU is kept for you for a while, your\n" +
			"terminals are told, and your next container gets it. With a CONTAINER that gave its GPUs back, it waits for those.",
		examples: []string{"ds01 gpu queue join", "ds01 gpu queue join --gpus 2", "ds01 gpu queue join --gpus 2g.20gb --time 4h", "ds01 gpu queue join train"},
		guide:    "This puts you in the queue for a GPU. You needn't stay: your place remains until it is your turn, or you leave.",
		exits:    exitsGranting(), max: 1, json: &asJSON, complete: a.completeContainers(1, stopped),
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&gpus, "gpus", "g", "1", gpusUsage)
			f.StringVar(&lasts, "time", "", timeUsage)
		},
		run: func(ctx context.Context, args []string) error {
			var want apitype.JoinQueue
			if len(args) > 0 {
				if lasts != "" {
					return usage("a container has its own time", "--time is for one that is still to be made", "Leave --time out.")
				}
				want.Container = args[0]
			} else if r, err := gpu.ParseRequest(gpus); err != nil {
				return err
			} else {
				want.GPUs, want.Wanted = apiWords(&r)
			}
			var err error
			if want.TimeSeconds, err = secondsOf(lasts); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			place, err := c.JoinQueue(ctx, want)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(place)
			}
			var all []apitype.QueuePlace
			if place.Position > 1 {
				if all, err = c.Queue(ctx); err != nil {
					return err
				}
			}
			fmt.Fprintln(a.Out, a.describe(place, all))
			return nil
		},
	}))
}

// describe says where somebody stands, behind whom, and why.
func (a *app) describe(p apitype.QueuePlace, queue []apitype.QueuePlace) string {
	what := ""
	if p.Container != "" {
		what = " for " + p.Container
	}
	if p.TimeSeconds > 0 {
		what += ", for at most " + quantity.FormatDuration(time.Duration(p.TimeSeconds)*time.Second)
	}
	if p.Position == 0 {
		return fmt.Sprintf("It is your turn%s: GPU %s is kept for you until %s. (place %s)", what, strings.Join(p.Slots, ", "), ahead(p.KeptUntil, a.now()), p.ID)
	}
	turn := "Nobody knows when it is your turn."
	if p.Begins != nil {
		turn = "Your turn is probably at " + ahead(p.Begins, a.now()) + "."
	}
	why := ""
	if p.Waits != "" {
		why = "\n  It waits: " + p.Waits + "."
	}
	return fmt.Sprintf("You are number %d in the queue%s%s. %s (place %s)%s\n  Its place: %s.", p.Position, what, behind(p, queue), turn, p.ID, why, p.Reason)
}

// mostNamed is how many of those ahead are named.
const mostNamed = 5

// behind names those who are ahead of a place.
func behind(p apitype.QueuePlace, queue []apitype.QueuePlace) string {
	var names []string
	for _, o := range queue {
		switch {
		case o.Position == 0 || o.Position >= p.Position:
		case o.Own:
			names = append(names, "yourself")
		default:
			names = append(names, o.User)
		}
	}
	if len(names) == 0 {
		return ""
	}
	more := ""
	if n := len(names) - mostNamed; n > 0 {
		names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
	}
	return ", behind " + strings.Join(names, ", ") + more
}

func (a *app) gpuQueuePosition() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use: "position", short: "Show your places in the queue",
		long:     "Shows where you stand in the queue, behind whom and why, and when it will probably be your turn.",
		examples: []string{"ds01 gpu queue position", "ds01 gpu queue position --json"},
		guide:    "This shows your places in the queue for GPUs. It changes nothing.",
		exits:    exitsOfOne(), json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Queue(ctx)
			if err != nil {
				return err
			}
			mine := ownPlaces(all)
			if asJSON {
				return a.printJSON(list(mine))
			}
			if len(mine) == 0 {
				return noPlace()
			}
			for _, p := range mine {
				fmt.Fprintln(a.Out, a.describe(p, all))
			}
			return nil
		},
	})
}

// ownPlaces returns the caller's places.
func ownPlaces(all []apitype.QueuePlace) []apitype.QueuePlace {
	return slices.DeleteFunc(slices.Clone(all), func(p apitype.QueuePlace) bool { return !p.Own })
}

// completePlaces completes the caller's places, with where each stands.
func (a *app) completePlaces(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(c.Context(), func(ctx context.Context, api *client.Client) ([]string, error) {
		all, err := api.Queue(ctx)
		var ids []string
		for _, p := range ownPlaces(all) {
			if !slices.Contains(args, p.ID) {
				ids = append(ids, fmt.Sprintf("%s\tnumber %d, %s", p.ID, p.Position, wantedGPUs(p)))
			}
		}
		return ids, err
	}), cobra.ShellCompDirectiveNoFileComp
}

func noPlace() error {
	return &problem.Error{
		What: "you are not in the queue", Why: problem.Because(problem.ErrNotFound, "you have no place there"),
		Next: "Take one with 'ds01 gpu queue join'.",
	}
}

func (a *app) gpuQueueLeave() *cobra.Command {
	return a.command(spec{
		use: "leave [ID…]", short: "Give up your places in the queue",
		long:     "Gives places up, and what is kept for them. Without an ID it is all of yours.",
		examples: []string{"ds01 gpu queue leave", "ds01 gpu queue leave 0123456789abcdef"},
		guide:    "This takes you out of the queue for GPUs. To come back later means to begin at the end.",
		exits:    exitsOfOne(), max: -1, complete: a.completePlaces,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				all, err := c.Queue(ctx)
				if err != nil {
					return err
				}
				for _, p := range ownPlaces(all) {
					args = append(args, p.ID)
				}
			}
			if len(args) == 0 {
				return noPlace()
			}
			var failed []error
			for _, id := range args {
				if err := c.LeaveQueue(ctx, id); err != nil {
					failed = append(failed, err)
					continue
				}
				fmt.Fprintf(a.Out, "You left the queue (place %s).\n", id)
			}
			return errors.Join(failed...)
		},
	})
}
