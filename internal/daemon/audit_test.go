package daemon

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/recorder"
)

var errFull = errors.New("the disk is full")

// fills is a log that is full when it comes to writing.
type fills struct{}

func (fills) Ready() error                       { return nil }
func (fills) Append(event.Event) (uint64, error) { return 0, errFull }

func TestTheEngineIsNotAskedForWhatIsNotWrittenDown(t *testing.T) {
	engine, err := docker.New(filepath.Join(t.TempDir(), "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	a := announced{engine}
	entry := recorder.New(fills{}, time.Now, slog.New(slog.DiscardHandler)).Entry(event.Event{}, true, nil)
	ctx, err := entry.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"create": func() error { _, _, err := a.Create(ctx, "n", "", nil); return err },
		"start":  func() error { return a.Start(ctx, "x") },
		"stop":   func() error { return a.Stop(ctx, "x", 0) },
		"remove": func() error { return a.Remove(ctx, "x", true) },
		"files":  func() error { return a.WriteFiles(ctx, "x", nil) },
		"stream": func() error { _, err := a.Dial(ctx); return err },
		"request": func() error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/x", nil)
			if err != nil {
				return err
			}
			resp, err := a.RoundTrip(r)
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
	} {
		if err := change(); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := a.Stop(t.Context(), "x", 0); errors.Is(err, errFull) {
		t.Error("what nobody asked for waits for the log")
	}
}
