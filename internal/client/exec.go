package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/term"

	"ds01.dev/ds01/internal/problem"
)

// dockerAPI is the version of the Docker API that the streams speak: Debian's
// engine 20.10 knows it.
const dockerAPI = "/docker/v1.41"

// Size is a terminal's size in characters.
type Size struct {
	Rows    int
	Columns int
}

// ExecOptions says what to run in a container and what it is connected to.
type ExecOptions struct {
	Command []string    // at least the program
	TTY     bool        // a terminal in the container: one stream, nothing on Stderr
	Stdin   io.Reader   // nil: no input; its end closes the command's input
	Stdout  io.Writer   // required
	Stderr  io.Writer   // required unless TTY
	Sizes   <-chan Size // terminal sizes, the first one at the start; may be nil
}

// ExecResult is how a command ended.
type ExecResult struct {
	ExitCode int
	Detached bool // the person left and the command goes on; ExitCode means nothing
}

// Exec runs a command in a running container, known by its id, until it ends,
// the person detaches (Ctrl-P Ctrl-Q in a terminal) or ctx ends. A read of
// Stdin may still be under way when Exec returns; what it yields is lost.
func (c *Client) Exec(ctx context.Context, id string, o ExecOptions) (ExecResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	execID, err := c.createExec(ctx, id, o)
	if err != nil {
		return ExecResult{}, err
	}
	s, err := c.hijack(ctx, dockerAPI+"/exec/"+url.PathEscape(execID)+"/start", execStart{TTY: o.TTY})
	if err != nil {
		return ExecResult{}, err
	}
	defer drop(s)
	if o.Sizes != nil {
		done := make(chan struct{})
		go func() { defer close(done); c.followSize(ctx, execID, o.Sizes) }()
		defer func() { cancel(); <-done }()
	}
	left := make(chan struct{})
	go feed(s, o, func() { close(left); drop(s) })
	err = output(s, o)
	select {
	case <-left:
		return ExecResult{Detached: true}, nil
	default:
	}
	if err != nil {
		return ExecResult{}, c.broken(ctx, err)
	}
	return c.result(ctx, execID, o.TTY)
}

type execCreate struct {
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	TTY          bool `json:"Tty"`
	Cmd          []string
}

type execStart struct {
	Detach bool
	TTY    bool `json:"Tty"`
}

func (c *Client) createExec(ctx context.Context, id string, o ExecOptions) (string, error) {
	body := execCreate{
		AttachStdin: o.Stdin != nil, AttachStdout: true, AttachStderr: true,
		TTY: o.TTY, Cmd: o.Command,
	}
	created, err := sendDocker[struct{ ID string }](ctx, c, http.MethodPost, "/containers/"+url.PathEscape(id)+"/exec", nil, body)
	return created.ID, err
}

// feed copies the input to the command and closes its input at the end, or leaves
// the terminal at Ctrl-P Ctrl-Q: as docker does it, for engine 20.10 takes these
// keys for a failure. It isn't waited for: a read of a terminal returns when
// somebody types.
func feed(s *stream, o ExecOptions, leave func()) {
	if in := o.Stdin; in != nil {
		if o.TTY {
			const ctrlP, ctrlQ = 0x10, 0x11
			in = term.NewEscapeProxy(in, []byte{ctrlP, ctrlQ})
		}
		if _, err := io.Copy(s, in); errors.Is(err, term.EscapeError{}) {
			leave()
			return
		} else if err != nil {
			return // the command ended, and the reader of its output says how
		}
	}
	_ = s.closeWrite() // fails only where the command has ended already
}

func output(s *stream, o ExecOptions) error {
	if !o.TTY {
		return demultiplex(o.Stdout, o.Stderr, s)
	}
	if _, err := io.Copy(o.Stdout, s); err != nil {
		return fmt.Errorf("read the terminal: %w", err)
	}
	return nil
}

// The engine answers the start before the process runs, and the stream's end
// before it notes the exit: both are asked again. How often is in tries of pause:
// 2 s, 5 s and half a minute.
const (
	resizeTries   = 8
	terminalTries = 16
	exitTries     = 80
)

// pause waits after a try, longer each time, and reports whether ctx still lives.
func pause(ctx context.Context, try int) bool {
	timer := time.NewTimer(25 * time.Millisecond << min(try, 4))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// followSize tells the engine every size until ctx ends or the channel closes.
func (c *Client) followSize(ctx context.Context, execID string, sizes <-chan Size) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			c.resize(ctx, execID, size)
		}
	}
}

// resize is best effort: a terminal of the wrong size is still a terminal.
func (c *Client) resize(ctx context.Context, execID string, size Size) {
	query := url.Values{"h": {strconv.Itoa(size.Rows)}, "w": {strconv.Itoa(size.Columns)}}
	for try := range resizeTries {
		_, err := sendDocker[struct{}](ctx, c, http.MethodPost, "/exec/"+url.PathEscape(execID)+"/resize", query, nil)
		if err == nil || !pause(ctx, try) {
			return
		}
	}
}

type execState struct {
	Running  bool
	ExitCode *int
}

// result asks how a command ended whose stream has ended. A terminal's that runs on
// counts as left.
func (c *Client) result(ctx context.Context, execID string, tty bool) (ExecResult, error) {
	tries := exitTries
	if tty { // who sits there can't even interrupt it
		tries = terminalTries
	}
	for try := range tries {
		state, err := getDocker[execState](ctx, c, "/exec/"+url.PathEscape(execID)+"/json", nil)
		switch {
		case err != nil:
			return ExecResult{}, err
		case !state.Running && state.ExitCode != nil:
			return ExecResult{ExitCode: *state.ExitCode}, nil
		case state.Running && tty && try == tries-1:
			return ExecResult{Detached: true}, nil
		case !pause(ctx, try):
			return ExecResult{}, ctx.Err()
		}
	}
	return ExecResult{}, c.broken(ctx, errors.New("the stream ended before the command did"))
}

// PID returns the process, on the host, that a running container began with.
func (c *Client) PID(ctx context.Context, id string) (int, error) {
	found, err := getDocker[struct{ State struct{ Pid int } }](ctx, c, "/containers/"+url.PathEscape(id)+"/json", nil)
	if err == nil && found.State.Pid <= 0 {
		err = &problem.Error{What: "no process of container " + id, Why: problem.Because(problem.ErrConflict, "it doesn't run"), Next: "Start it."}
	}
	return found.State.Pid, err
}
