package scratch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pollEvery is the pause between two looks at whether a program answers yet.
const pollEvery = 10 * time.Millisecond

// A process is a child in a session of its own, so that a Ctrl-C for its
// starter doesn't reach it.
type process struct {
	cmd  *exec.Cmd
	log  string
	gone chan struct{} // closed when the process has ended
	err  error         // how it ended; read after gone
}

// command prepares a child with its output in the file log.
func command(ctx context.Context, log, name string, args ...string) (*process, *os.File, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a path in the folder we were given
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), lookUp(name), args...) //nolint:gosec // fixed programs
	cmd.Env = []string{"PATH=" + searchPath, "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return &process{cmd: cmd, log: log, gone: make(chan struct{})}, file, nil
}

// launch starts a child that finds its own children on path.
func launch(ctx context.Context, log, path, name string, args ...string) (*process, error) {
	p, file, err := command(ctx, log, name, args...)
	if err != nil {
		return nil, err
	}
	p.cmd.Env = append(p.cmd.Env, "PATH="+path) // the last one counts
	defer file.Close()                          //nolint:errcheck // the child has its own copy
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.gone)
}

// end sends the signal and waits until the process is gone.
func (p *process) end(ctx context.Context, sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %d: %w", p.cmd.Process.Pid, err)
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await calls try until it succeeds, the process ends or time is up.
func (p *process) await(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.gone:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s doesn't answer: %w; %w", filepath.Base(p.cmd.Path), ctx.Err(), err)
		}
	}
}

// failure tells how the process ended and what it said last.
func (p *process) failure() error {
	said, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	const tail = 1000
	said = said[max(0, len(said)-tail):]
	return fmt.Errorf("%s ended (%v): %s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, strings.TrimSpace(string(said)))
}
