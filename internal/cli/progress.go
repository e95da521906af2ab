package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"ds01.dev/ds01/internal/client"
)

// patience is how long something may take before a person is told about it,
// and how often they are told.
const patience = time.Second

// progress does something that may take a while. On a terminal it shows for
// how long, from the first second on.
func (a *app) progress(text string, do func() error) error {
	return a.progressOf(func() string { return text }, do)
}

// progressOf is progress with a text that is asked for each second.
func (a *app) progressOf(text func() string, do func() error) error {
	if !a.animated() {
		return do()
	}
	return showProgress(a.Err, text, do)
}

// glance is how long a look may take that only tells more of what is under way.
const glance = 500 * time.Millisecond

// whileCutting returns a text, and what is being cut for the caller as long as
// something is.
func whileCutting(ctx context.Context, c *client.Client, text string) func() string {
	return func() string {
		ctx, cancel := context.WithTimeout(ctx, glance)
		defer cancel()
		now, err := c.Cutting(ctx)
		if err != nil || len(now.Making) == 0 {
			return text
		}
		return text + ": cutting " + strings.Join(now.Making, ", ")
	}
}

// overProgress returns what a line begins with that is written while progress
// is shown.
func (a *app) overProgress() string {
	if !a.animated() {
		return ""
	}
	return "\r\x1b[K"
}

func showProgress(w io.Writer, text func() string, do func() error) error {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		ticker := time.NewTicker(patience)
		defer ticker.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-done:
				if seconds > 1 {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				fmt.Fprintf(w, "\r\x1b[K%s … %d s", text(), seconds)
			}
		}
	}()
	err := do()
	close(done)
	<-gone
	return err
}

const refresh = 2 * time.Second

// watch shows a page again and again until ctx ends.
func (a *app) watch(ctx context.Context, page func(w io.Writer) error) error {
	if _, ok := terminal(a.Out); !ok {
		return usage("cannot watch", "stdout is not a terminal", "Leave out --watch; --json prints one document.")
	}
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		var text bytes.Buffer
		if err := page(&text); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "\x1b[H\x1b[2J%s", text.Bytes())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
