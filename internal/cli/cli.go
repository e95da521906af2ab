// Package cli is the command line: one file per command, over the client of
// the daemon's API. It holds no state and needs no privilege; it decides
// nothing that the daemon decides.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/docker/step"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/wizard"
)

// Streams are what a command reads and writes. A stream with a method
// Fd() uintptr, such as *os.File, may be a terminal.
type Streams struct {
	In  io.Reader
	Out io.Writer // what was asked for
	Err io.Writer // errors, questions, progress
}

// Entry holds the programs that the command line starts and that stand above
// it or apart from it. The command of a nil one doesn't exist.
type Entry struct {
	Version string // of this binary; "": unknown
	Daemon  func(ctx context.Context, o DaemonOptions) error
	Demo    func(ctx context.Context, o DemoOptions) error
}

// DaemonOptions are the flags of "ds01 daemon".
type DaemonOptions struct {
	Root string    // directory that stands for /; "": the host's own
	Log  io.Writer // where the log goes
}

// DemoOptions are the flags of "ds01 demo".
type DemoOptions struct {
	Keep bool // leave everything running at the end
	End  bool // take away what Keep left
	Out  io.Writer
	Err  io.Writer
}

// app is one run of the command line.
type app struct {
	Streams
	env   func(string) string
	entry Entry
	now   func() time.Time
	stdin *input

	host   string // --host
	user   string // --user
	guided bool   // --guided
}

// Run runs the command that args (with argv[0]) names and returns the process
// exit code. env looks an environment variable up.
func Run(ctx context.Context, args []string, s Streams, env func(string) string, e Entry) int {
	if filepath.Base(args[0]) == step.Program {
		return step.Run(ctx, args, env("PATH"), s.Err)
	}
	if filepath.Base(args[0]) == grant.Program {
		return runtime(args, env("PATH"), s.Err)
	}
	a := &app{Streams: s, env: env, entry: e, now: time.Now, stdin: newInput(s.In)}
	root := a.root() //nolint:contextcheck // commands get ctx when they are executed
	root.SetArgs(resolveLink(args))
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	return a.exit(ctx, root.ExecuteContext(ctx))
}

// exit prints err, if any, and returns its exit code.
func (a *app) exit(ctx context.Context, err error) int {
	var status exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.Err, "Interrupted.")
		return exitInterrupted
	}
	all := []error{err}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all = several.Unwrap()
	}
	for _, one := range all {
		a.printError(one)
	}
	return problem.ExitCode(all[0])
}

// printError prints what, why and next, one line each.
func (a *app) printError(err error) {
	for i, line := range problem.Lines(err) {
		if i == 0 {
			line = a.paint(a.Err, red, "Error:") + " " + line
		} else {
			line = "  " + line
		}
		fmt.Fprintln(a.Err, line)
	}
}

// client returns a client of the daemon that --host, DS01_HOST or the default
// names, acting for --user.
func (a *app) client() (*client.Client, error) {
	host := a.host
	if host == "" {
		host = a.env("DS01_HOST")
	}
	if host == "" {
		host = client.DefaultHost
	}
	c, err := client.New(host)
	if err != nil {
		return nil, err
	}
	return c.As(a.user), nil
}

// form returns a form on the terminal; questions go to stderr, so that stdout
// holds only what was asked for.
func (a *app) form(ctx context.Context) *wizard.Form {
	return wizard.NewForm(a.stdin.reader(ctx), a.Err)
}

// confirm asks before something is lost. Where nobody can be asked, the flag
// --yes has to say it.
func (a *app) confirm(ctx context.Context, question string) error {
	const flag = "--yes"
	if !a.interactive() {
		return usage("cannot ask: "+question, "stdin is not a terminal", "Add "+flag+" to do it without being asked.")
	}
	yes, err := a.form(ctx).Confirm(question, flag)
	if err != nil {
		return err
	}
	if !yes {
		return &problem.Error{What: "nothing was done", Why: errors.New("you did not say yes")}
	}
	return nil
}

// usage returns an error of exit code 2.
func usage(what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(problem.ErrInvalid, why), Next: next}
}
