package gateway

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"ds01.dev/ds01/internal/problem"
)

// A handler that panics ends its own connection. A goroutine that one has started
// ends the daemon, through which everybody's containers go. So what reads a
// client's bytes beside its handler is guarded.

// guard does what it is given, and makes an error of a panic.
func (c *call) guard(ctx context.Context, broken error, do func() error) (err error) {
	defer func() {
		if what := recover(); what != nil {
			c.Log.ErrorContext(ctx, "a request broke", "user", c.who.Name, "panic", what, "stack", string(debug.Stack()))
			c.broke.Store(true)
			err = broken
		}
	}()
	return do()
}

// brokenBy is the error of what a client sent on which ds01 itself broke.
func brokenBy(what string) error {
	return &problem.Error{
		What: what, Why: problem.Because(problem.ErrUnavailable, "what was sent broke something in ds01, which goes on for everybody else"),
		Next: "Give what you sent to your administrators: the daemon's log says where it broke.",
	}
}

// guardedBody is a request's body for the engine, which the HTTP client reads in a
// goroutine of its own.
type guardedBody struct {
	io.Reader

	ctx context.Context
	of  *call
}

func (b guardedBody) Read(p []byte) (n int, err error) {
	err = b.of.guard(b.ctx, brokenBy("Request not sent on"), func() error {
		n, err = b.Reader.Read(p)
		return err
	})
	return n, err
}

// beside does what it is given beside the caller. wait waits for its end and panics
// as it did, where somebody makes an error of that.
func beside(do func()) (wait func()) {
	over := make(chan error, 1)
	go func() {
		defer func() {
			if what := recover(); what != nil {
				over <- fmt.Errorf("%v\n%s", what, debug.Stack())
			}
			close(over)
		}()
		do()
	}()
	return func() {
		if broken := <-over; broken != nil {
			panic(broken)
		}
	}
}
