package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

func TestProgressIsShownFromTheFirstSecondOnAndTakenAway(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		want  string
	}{
		"what is quick shows nothing":      {900 * time.Millisecond, ""},
		"what takes longer shows how long": {2500 * time.Millisecond, "\r\x1b[KStarting … 1 s\r\x1b[KStarting … 2 s\r\x1b[K"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var shown bytes.Buffer
				if err := showProgress(&shown, func() string { return "Starting" }, func() error {
					time.Sleep(c.takes)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if shown.String() != c.want {
					t.Errorf("shown: %q", shown.String())
				}
			})
		})
	}
}

// What is cut for the caller is said as long as it is, and that nobody knows isn't.
func TestWhatIsCutForSomebodyIsSaid(t *testing.T) {
	for name, f := range map[string]*clienttest.Fake{
		"Creating web: cutting 2g.20gb on card 1": {Cutting: apitype.Cutting{Making: []string{"2g.20gb on card 1"}}},
		"Creating web": {},
		"Creating x":   {Fail: map[string]error{"GET /v1/gpus/cutting": problem.ErrUnavailable}},
	} {
		c, err := client.New(clienttest.Start(t, f))
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(name, ":")
		if got := whileCutting(t.Context(), c, text)(); got != name {
			t.Errorf("said %q, want %q", got, name)
		}
	}
	a := app{}
	if got := a.standing(apitype.QueuePlace{Position: 1, Making: "2g.20gb on card 1"}); got != "Cutting 2g.20gb on card 1 for you." {
		t.Errorf("to who waits: %q", got)
	}
}

func TestProgressPassesTheErrorOn(t *testing.T) {
	failed := errors.New("failed")
	if err := showProgress(io.Discard, func() string { return "x" }, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestReadersOfTheInputFollowEachOther(t *testing.T) {
	in := newInput(iotest.OneByteReader(strings.NewReader("one two")))
	first, leave := context.WithCancel(t.Context())
	three := make([]byte, 3)
	if _, err := io.ReadFull(in.reader(first), three); err != nil || string(three) != "one" {
		t.Fatalf("got %q, %v", three, err)
	}
	leave()
	if _, err := in.reader(first).Read(three); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader that left: %v", err)
	}
	rest, err := io.ReadAll(in.reader(t.Context()))
	if err != nil || string(rest) != " two" {
		t.Errorf("the next reader got %q, %v", rest, err)
	}
}

func TestAnInterruptedReadLosesNothing(t *testing.T) {
	source, typed := io.Pipe()
	in := newInput(source)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := in.reader(ctx).Read(make([]byte, 8))
		left <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the read ended with %v", err)
	}
	go func() {
		_, _ = io.WriteString(typed, "later")
		_ = typed.Close()
	}()
	if rest, err := io.ReadAll(in.reader(t.Context())); err != nil || string(rest) != "later" {
		t.Errorf("got %q, %v", rest, err)
	}
}
