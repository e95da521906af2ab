package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

func withContainer(f *clienttest.Fake) *clienttest.Fake {
	f.Add(apitype.Container{ID: "id-web", Name: "web", State: apitype.StateRunning})
	return f
}

func TestExecKeepsTheTwoStreamsApartAndPassesTheExitCode(t *testing.T) {
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		fmt.Fprintf(p.Stdout, "%q", p.Command)
		fmt.Fprint(p.Stderr, "oops")
		fmt.Fprint(p.Stdout, strings.Repeat("x", 1<<20))
		return 42
	}})
	var stdout, stderr bytes.Buffer
	result, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{
		Command: []string{"ls", "-l a"}, Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil || result.ExitCode != 42 {
		t.Fatalf("got %+v, %v", result, err)
	}
	if want := `["ls" "-l a"]` + strings.Repeat("x", 1<<20); stdout.String() != want {
		t.Errorf("stdout is %d bytes, want %d", stdout.Len(), len(want))
	}
	if stderr.String() != "oops" {
		t.Errorf("stderr is %q", stderr.String())
	}
}

func TestTheEndOfStdinReachesTheCommandWhileItsOutputGoesOn(t *testing.T) {
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		text, err := io.ReadAll(p.Stdin)
		if err != nil {
			return 1
		}
		fmt.Fprintf(p.Stdout, "%d bytes", len(text))
		return 0
	}})
	var stdout bytes.Buffer
	result, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{
		Command: []string{"wc"}, Stdin: strings.NewReader("hello"), Stdout: &stdout, Stderr: io.Discard,
	})
	if err != nil || result.ExitCode != 0 || stdout.String() != "5 bytes" {
		t.Errorf("got %+v, %v, %q", result, err, stdout.String())
	}
}

func TestATerminalIsOneRawStreamWithItsSize(t *testing.T) {
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		for range 2 {
			size := <-p.Sizes
			fmt.Fprintf(p.Stdout, "%dx%d\r\n", size[0], size[1])
		}
		line := make([]byte, 3)
		if _, err := io.ReadFull(p.Stdin, line); err != nil {
			return 1
		}
		fmt.Fprintf(p.Stderr, "%t %s", p.TTY, line)
		return 7
	}})
	sizes := make(chan client.Size, 2)
	sizes <- client.Size{Rows: 24, Columns: 80}
	sizes <- client.Size{Rows: 50, Columns: 120}
	var stdout bytes.Buffer
	result, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{
		Command: []string{"sh"}, TTY: true, Stdin: strings.NewReader("ls\r"), Stdout: &stdout, Sizes: sizes,
	})
	if err != nil || result.ExitCode != 7 {
		t.Fatalf("got %+v, %v", result, err)
	}
	if want := "24x80\r\n50x120\r\ntrue ls\r"; stdout.String() != want {
		t.Errorf("the terminal shows %q, want %q", stdout.String(), want)
	}
}

// The engine never sees the keys, nor what is typed after them.
func TestATerminalIsLeftByItsKeys(t *testing.T) {
	typed := make(chan string, 1)
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		text, _ := io.ReadAll(p.Stdin) // until the client has gone
		typed <- string(text)
		return 0
	}})
	result, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{
		Command: []string{"sh"}, TTY: true, Stdin: strings.NewReader("ls\r\x10\x11\r"), Stdout: io.Discard,
	})
	if err != nil || !result.Detached {
		t.Errorf("got %+v, %v", result, err)
	}
	if got := <-typed; got != "ls\r" {
		t.Errorf("typed %q", got)
	}
}

// A busy engine may note the exit long after the stream's end: nobody has left.
func TestALateExitCodeIsWaitedFor(t *testing.T) {
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		_, _ = io.ReadFull(p.Stdin, make([]byte, len("exit 7\r")))
		_ = p.Stdout.(io.Closer).Close()
		time.Sleep(1500 * time.Millisecond)
		return 7
	}})
	result, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{
		Command: []string{"sh"}, TTY: true, Stdin: strings.NewReader("exit 7\r"), Stdout: io.Discard,
	})
	if err != nil || result.ExitCode != 7 || result.Detached {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	f := withContainer(&clienttest.Fake{Run: func(p *clienttest.Process) int {
		_, _ = io.Copy(io.Discard, p.Stdin)
		return 0
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stdin, keepOpen := io.Pipe()
	defer keepOpen.Close()
	_, err := connect(t, f).Exec(ctx, "id-web", client.ExecOptions{
		Command: []string{"cat"}, Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

func TestARefusedStartIsAProblem(t *testing.T) {
	f := withContainer(&clienttest.Fake{Fail: map[string]error{
		"POST /docker/v1.41/exec/exec1/start": &problem.Error{What: "no", Why: problem.ErrDenied},
	}})
	_, err := connect(t, f).Exec(t.Context(), "id-web", client.ExecOptions{Command: []string{"x"}, Stdout: io.Discard, Stderr: io.Discard})
	if !errors.Is(err, problem.ErrDenied) {
		t.Errorf("got %v, want denied", err)
	}
}

func TestLogsComeApartUnlessTheContainerHasATerminal(t *testing.T) {
	f := &clienttest.Fake{
		TTY:  map[string]bool{"tty": true},
		Logs: map[string][2]string{"web": {"out\n", "err\n"}, "tty": {"all\r\n", ""}},
	}
	f.Add(apitype.Container{ID: "id-web", Name: "web"})
	f.Add(apitype.Container{ID: "id-tty", Name: "tty"})
	c := connect(t, f)
	for id, want := range map[string][2]string{"id-web": {"out\n", "err\n"}, "id-tty": {"all\r\n", ""}} {
		var stdout, stderr bytes.Buffer
		if err := c.Logs(t.Context(), id, client.LogOptions{}, &stdout, &stderr); err != nil {
			t.Fatal(err)
		}
		if got := [2]string{stdout.String(), stderr.String()}; got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
}

func TestLogOptionsAreTheEnginesQuery(t *testing.T) {
	f := withContainer(&clienttest.Fake{})
	o := client.LogOptions{Follow: true, Tail: 5, Since: time.Unix(1700000000, 0)}
	if err := connect(t, f).Logs(t.Context(), "web", o, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := "GET /docker/v1.41/containers/web/logs?follow=1&since=1700000000&stderr=1&stdout=1&tail=5"
	if got := f.Requests(); got[len(got)-1] != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}
