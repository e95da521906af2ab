package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

// patience is how long something may take before a person is told about it,
// and how often they are told.
const patience = time.Second

// progress does something that may take a while. On a terminal it shows for
// how long, from the first second on.
func (a *app) progress(text string, do func() error) error {
	if !a.animated() {
		return do()
	}
	return showProgress(a.Err, text, do)
}

// overProgress returns what a line begins with that is written while progress
// is shown.
func (a *app) overProgress() string {
	if !a.animated() {
		return ""
	}
	return "\r\x1b[K"
}

func showProgress(w io.Writer, text string, do func() error) error {
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
				fmt.Fprintf(w, "\r\x1b[K%s … %d s", text, seconds)
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
