package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/client/clienttest"
)

// program is what runs in the containers of the daemon in memory: a few
// commands, and a shell of one line that reads them from its input.
func program(p *clienttest.Process) int {
	switch p.Command[0] {
	case "echo":
		fmt.Fprintln(p.Stdout, strings.Join(p.Command[1:], " "))
	case "fail":
		fmt.Fprintln(p.Stderr, "it failed")
		code, err := strconv.Atoi(p.Command[1])
		if err != nil {
			return 1
		}
		return code
	case "cat":
		if !p.HasInput {
			return 0
		}
		if _, err := io.Copy(p.Stdout, p.Stdin); err != nil {
			return 1
		}
	case "sh":
		return shell(p)
	}
	return 0
}

// shell echoes a line, tells the terminal's size where there is one, and
// ends with the code behind "exit".
func shell(p *clienttest.Process) int {
	if p.TTY {
		size := <-p.Sizes
		fmt.Fprintf(p.Stdout, "%dx%d$ ", size[0], size[1])
	}
	var line strings.Builder
	one := make([]byte, 1)
	for {
		n, err := p.Stdin.Read(one)
		if n == 1 && one[0] != '\n' && one[0] != '\r' {
			line.WriteByte(one[0])
			continue
		}
		if err != nil && line.Len() == 0 {
			return 0
		}
		fmt.Fprintf(p.Stdout, "you said %q\n", line.String())
		if word, code, ok := strings.Cut(line.String(), " "); ok && word == "exit" {
			status, err := strconv.Atoi(code)
			if err != nil {
				return 1
			}
			return status
		}
		line.Reset()
	}
}

// locked is a buffer that a command and a test may use at once.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// run runs a command line in this process, without a terminal.
func run(ctx context.Context, t *testing.T, f *clienttest.Fake, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr locked
	environment := map[string]string{"DS01_HOST": clienttest.Start(t, f)}
	code = cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr},
		func(name string) string { return environment[name] }, entry())
	return code, stdout.String(), stderr.String()
}
