package cli

import (
	"context"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/client"
)

// lookTimeout bounds the look at a container whose command ended badly.
const lookTimeout = 2 * time.Second

// sayWhyEnded says why a command ended, where the kernel ended something in its
// container meanwhile.
func (a *app) sayWhyEnded(ctx context.Context, c *client.Client, name string, began time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	now, err := c.Container(ctx, name)
	if err != nil || now.OutOfMemory == nil || now.OutOfMemory.At.Before(began) {
		return // it is gone, or there is nothing to say
	}
	fmt.Fprintf(a.Err, "%s. %s\n", now.OutOfMemory.Why, now.OutOfMemory.Next)
}
