package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
)

// shellCommand starts the best shell an image has.
func shellCommand() []string {
	return []string{"sh", "-c", "command -v bash >/dev/null && exec bash -l || exec sh -l"}
}

// session is a command in a container with the person's streams.
type session struct {
	command []string
	input   bool // stdin is connected
	tty     bool // a terminal in the container
}

// shell opens a shell; with a terminal where there is one at both ends.
func (a *app) shell(ctx context.Context, c *client.Client, container apitype.Container) error {
	_, out := terminal(a.Out)
	return a.attach(ctx, c, container, session{command: shellCommand(), input: true, tty: out && a.interactive()})
}

// attach runs a session to its end. A command that ends with another code
// than 0 is an exitError.
func (a *app) attach(ctx context.Context, c *client.Client, container apitype.Container, s session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := client.ExecOptions{Command: s.command, TTY: s.tty, Stdout: a.Out, Stderr: a.Err}
	if s.input {
		options.Stdin = a.stdin.reader(ctx)
	}
	restore := func() error { return nil }
	if s.tty {
		options.Sizes = a.sizes(ctx)
		if s.input {
			var err error
			if restore, err = a.raw(); err != nil {
				return err
			}
		}
	}
	began := a.now()
	result, err := c.Exec(ctx, container.ID, options)
	if restoreErr := restore(); err == nil {
		err = restoreErr
	}
	if err != nil || result.ExitCode != 0 {
		defer a.sayWhyEnded(ctx, c, container.Name, began, result.ExitCode)
	}
	switch {
	case err != nil && s.tty:
		fmt.Fprintln(a.Err) // the cursor stands behind the shell's prompt
		return err
	case err != nil:
		return err
	case result.Detached:
		fmt.Fprintf(a.Err, "\nYou left; the command goes on in %s.\n", container.Name)
		return nil
	case result.ExitCode != 0:
		return exitError(result.ExitCode)
	default:
		return nil
	}
}

// raw hands every key to the container and returns the way back.
func (a *app) raw() (restore func() error, err error) {
	fd, ok := terminal(a.In)
	if !ok {
		return func() error { return nil }, nil
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set the terminal up: %w", err)
	}
	return func() error {
		if err := term.Restore(fd, before); err != nil {
			return fmt.Errorf("set the terminal back: %w", err)
		}
		return nil
	}, nil
}

// sizes tells the terminal's size now and whenever it changes, until ctx ends.
func (a *app) sizes(ctx context.Context) <-chan client.Size {
	sizes := make(chan client.Size)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer close(sizes)
		defer signal.Stop(changed)
		for {
			if size, ok := a.size(); ok {
				select {
				case sizes <- size:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}

func (a *app) size() (client.Size, bool) {
	fd, ok := terminal(a.Out)
	if !ok {
		return client.Size{}, false
	}
	columns, rows, err := term.GetSize(fd)
	return client.Size{Rows: rows, Columns: columns}, err == nil
}
