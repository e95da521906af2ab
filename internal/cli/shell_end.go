package cli

import (
	"context"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/client"
)

const (
	// lookTimeout bounds the look at a container whose command ended badly.
	lookTimeout = 2 * time.Second
	// lookAgain is how soon the daemon is asked again, mostLooks how often: it reads of
	// what the kernel ended a moment later.
	lookAgain = 100 * time.Millisecond
	mostLooks = 10
	// killedCode is the exit code of a command that SIGKILL ended, as the kernel does for
	// want of memory.
	killedCode = 137
)

// sayWhyEnded says why a command ended, where the kernel ended something in its
// container meanwhile.
func (a *app) sayWhyEnded(ctx context.Context, c *client.Client, name string, began time.Time, exitCode int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	for range mostLooks {
		now, err := c.Container(ctx, name)
		if err != nil {
			return // it is gone, or nobody says more
		}
		if k := now.OutOfMemory; k != nil && !k.At.Before(began) {
			fmt.Fprintf(a.Err, "%s. %s\n", k.Why, k.Next)
			return
		}
		if exitCode != killedCode {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}
