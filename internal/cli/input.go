package cli

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// input lets several readers share stdin one after the other. A read of a
// terminal can't be called back, so one goroutine reads from the first use to
// the end of the process, and what it has read waits for whoever asks next: a
// question is interrupted by Ctrl-C, and a shell that ended leaves the next
// line to the question behind it.
type input struct {
	source io.Reader
	start  sync.Once
	chunks chan chunk

	mu   sync.Mutex
	rest []byte
	err  error // how the source ended
}

type chunk struct {
	text []byte
	err  error
}

const chunkBytes = 32 << 10

func newInput(source io.Reader) *input {
	return &input{source: source, chunks: make(chan chunk)}
}

func (in *input) pump() {
	for {
		text := make([]byte, chunkBytes)
		n, err := in.source.Read(text)
		in.chunks <- chunk{text[:n], err}
		if err != nil {
			return
		}
	}
}

// reader returns a reader of stdin that fails once ctx ends.
func (in *input) reader(ctx context.Context) io.Reader { return &inputReader{ctx, in} }

type inputReader struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to be interrupted
	in  *input
}

// Read returns what there is, waiting for at least one byte.
func (r *inputReader) Read(p []byte) (int, error) {
	in := r.in
	in.start.Do(func() { go in.pump() })
	for {
		if r.ctx.Err() != nil {
			return 0, fmt.Errorf("read the input: %w", context.Cause(r.ctx))
		}
		if n, err := in.take(p); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-r.ctx.Done():
		case c := <-in.chunks:
			in.put(c)
		}
	}
}

func (in *input) take(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.rest) == 0 {
		return 0, in.err
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

func (in *input) put(c chunk) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.rest = append(in.rest, c.text...)
	in.err = c.err
}
