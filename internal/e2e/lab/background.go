package lab

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// Output collects what a running command prints. It is safe for concurrent
// use.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Background starts a command as a person. The function that it returns ends
// the command; the test's end does, too.
func Background(t *testing.T, l *Lab, who string, words ...string) (*Output, func()) {
	t.Helper()
	cmd, out := l.Command(who, words...), &Output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	t.Cleanup(end)
	return out, end
}

// Fed runs a command as a person on the given input, to its end.
func (l *Lab) Fed(name, input string, words ...string) Result {
	l.t.Helper()
	cmd := l.Command(name, words...)
	cmd.Stdin = strings.NewReader(input)
	return l.Finish(cmd)
}
