package scratch

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// dismissTimeout bounds the guard's work; it gives up by itself after 10 s of
// trying, and removing the data comes on top.
const dismissTimeout = time.Minute

//go:embed guard.sh
var guardScript string

// A guard cleans up after an engine when its input closes.
type guard struct {
	*process
	input io.WriteCloser
}

// startGuard starts a guard and waits until the engine may start.
func startGuard(ctx context.Context, opts Options) (*guard, error) {
	user := ""
	if opts.Remap {
		user = remapUser
	}
	p, file, err := command(ctx, filepath.Join(opts.Dir, "guard.log"),
		"sh", "-c", guardScript, "guard.sh", opts.Dir, cgroupOf(opts.Dir), sliceOf(opts.Dir), user)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // the child has its own copy
	p.cmd.Stdout = nil
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("connect the guard: %w", err)
	}
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("connect the guard: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	line, readErr := bufio.NewReader(output).ReadString('\n')
	go p.wait()
	if readErr != nil || line != "ready\n" {
		<-p.gone
		return nil, p.failure()
	}
	return &guard{process: p, input: input}, nil
}

// dismiss says word to the guard, closes its input and waits for its end.
func (g *guard) dismiss(ctx context.Context, word string) error {
	select {
	case <-g.gone:
		return nil
	default:
	}
	if _, err := io.WriteString(g.input, word); err != nil {
		return fmt.Errorf("write to the guard: %w", err)
	}
	if err := g.input.Close(); err != nil && !errors.Is(err, os.ErrClosed) { // it may have ended at the word
		return fmt.Errorf("dismiss the guard: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dismissTimeout)
	defer cancel()
	select {
	case <-g.gone:
		if g.err != nil {
			return g.failure()
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the guard still cleans up: %w", ctx.Err())
	}
}
