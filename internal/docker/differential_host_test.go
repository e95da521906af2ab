package docker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/limits"
)

// A host is alice's limits, and what stands in for an engine: it keeps the body
// of the last request.
type host struct {
	tight, loose limits.Limits
	engine       *docker.Engine
	last         chan []byte
}

func newHost(t testing.TB) *host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{tight: limitsOf(t, tight), loose: limitsOf(t, loose), last: make(chan []byte, 1)}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: h}
	go func() { _ = server.Serve(socket) }() // it ends with the test
	if h.engine, err = docker.New(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.engine.Close(), server.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func limitsOf(t testing.TB, text string) limits.Limits {
	t.Helper()
	doc, _, err := limits.Decode(limits.File{Name: "limits", Data: []byte(text)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Resolve(alice(), time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC))
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.51")
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost {
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		data = []byte(err.Error())
	}
	h.last <- data
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"Id":"x"}`) // the client hangs up: its call fails
}

// heard returns the body that a call sends.
func (h *host) heard(call func(context.Context, *docker.Engine) error) ([]byte, error) {
	for len(h.last) > 0 {
		<-h.last // of a call that failed
	}
	if err := call(context.Background(), h.engine); err != nil {
		return nil, err
	}
	return <-h.last, nil
}
