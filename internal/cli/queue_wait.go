package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// timeUsage is the help of --time.
const timeUsage = "it ends within `TIME`, such as 4h: the shorter, the sooner its turn may come; it is stopped then, after a warning"

// secondsOf returns the seconds that --time says, 0 for none.
func secondsOf(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := quantity.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, usage("nothing lasts "+text, "that is no time of a second or more", "Write it as --time 30m or --time 4h.")
	}
	return int64(d / time.Second), nil
}

// waitFlags say whether to wait in the queue for a GPU.
type waitFlags struct {
	wait    bool
	timeout string
	keep    bool
}

func (w *waitFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&w.wait, "wait", false, "wait in the queue for a GPU if none is free")
	f.StringVar(&w.timeout, "timeout", "", "with --wait: give up after `TIME`, such as 2h")
	f.BoolVar(&w.keep, "keep-place", false, "with --wait: keep the place in the queue when you stop waiting")
}

// limit returns how long to wait; 0 is without end.
func (w *waitFlags) limit() (time.Duration, error) {
	switch {
	case !w.wait && (w.timeout != "" || w.keep):
		return 0, usage("there is nothing to wait for", "--timeout and --keep-place are for --wait", "Add --wait, or leave them out.")
	case w.timeout == "":
		return 0, nil
	}
	d, err := quantity.ParseDuration(w.timeout)
	if err != nil || d <= 0 {
		return 0, usage("cannot wait for "+w.timeout, "that is no time", "Write it as --timeout 30m or --timeout 2h.")
	}
	return d, nil
}

// Codes of refusals for want of a GPU, as the daemon gives them.
const (
	codeNoGPU = "NO_GPU_AVAILABLE"
	codeAhead = "GPU_QUEUE_AHEAD"
)

// forWantOfAGPU reports whether waiting helps.
func forWantOfAGPU(err error) bool {
	p, ok := errors.AsType[*problem.Error](err)
	return ok && errors.Is(err, problem.ErrExhausted) && (p.Code == codeNoGPU || p.Code == codeAhead)
}

// inTurn does something that needs GPUs, at once or, with --wait, when it is
// its turn.
func (a *app) inTurn(ctx context.Context, c *client.Client, w *waitFlags, want apitype.JoinQueue, do func() error) error {
	limit, err := w.limit()
	if err != nil {
		return err
	}
	for err = do(); w.wait && forWantOfAGPU(err); err = do() {
		if err := a.awaitTurn(ctx, c, w, limit, want); err != nil {
			return err
		}
	}
	return err
}

// pollFor is how long one look at a place waits for its turn, and askAgain how
// long a daemon that doesn't answer is left alone.
const (
	pollFor  = 20 * time.Second
	askAgain = time.Second
)

// awaitTurn takes a place in the queue and waits until it has its turn. Who
// stops waiting leaves the queue, unless the place is to stay.
func (a *app) awaitTurn(ctx context.Context, c *client.Client, w *waitFlags, limit time.Duration, want apitype.JoinQueue) error {
	place, err := c.JoinQueue(ctx, want)
	if err != nil {
		return err
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		waiting, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	said := ""
	for place.Position > 0 && waiting.Err() == nil {
		if text := a.standing(place); text != said {
			fmt.Fprintln(a.Err, text)
			said = text
		}
		next, err := c.QueuePlace(waiting, place.ID, pollFor)
		switch {
		case err == nil:
			place = next
		case errors.Is(err, problem.ErrUnavailable): // places outlive a restart of the daemon
			select {
			case <-waiting.Done():
			case <-time.After(askAgain):
			}
		case waiting.Err() == nil:
			return err
		}
	}
	if place.Position == 0 {
		return nil
	}
	if w.keep {
		fmt.Fprintf(a.Err, "Your place stays: number %d. See it with 'ds01 gpu queue position', give it up with 'ds01 gpu queue leave %s'.\n", place.Position, place.ID)
	} else if err := c.LeaveQueue(context.WithoutCancel(ctx), place.ID); err != nil && !errors.Is(err, problem.ErrNotFound) {
		return errors.Join(waiting.Err(), err)
	}
	return cmp.Or(ctx.Err(), error(&problem.Error{
		What: "no GPU became free in time",
		Why:  problem.Because(problem.ErrExhausted, fmt.Sprintf("you waited for %s and were number %d in the queue", quantity.FormatDuration(limit), place.Position)),
		Next: "Wait longer, or take a place that stays: 'ds01 gpu queue join'.",
	}))
}

// standing says where somebody stands and when it will be their turn.
func (a *app) standing(p apitype.QueuePlace) string {
	text := fmt.Sprintf("Waiting for a GPU: number %d in the queue", p.Position)
	switch {
	case p.Making != "":
		return "Cutting " + p.Making + " for you."
	case p.Begins == nil:
		return text + "; nobody knows when it is your turn."
	}
	return text + "; your turn is probably at " + clock(*p.Begins, a.now()) + "."
}
