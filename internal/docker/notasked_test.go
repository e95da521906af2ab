package docker_test

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/problem"
)

// Who has claimed a GPU for a container may only give it back where there is
// certainly none.
func TestAnEngineThatIsNotThereWasNotAsked(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	e, err := docker.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	create := func(when string, notAsked bool) {
		t.Helper()
		_, _, err := e.Create(t.Context(), "c", "", []byte("{}"))
		_, is := errors.AsType[container.NotAskedError](err)
		if is != notAsked || !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("%s: not asked: %t, %v", when, is, err)
		}
	}
	create("before it comes up", true)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_ping" {
			panic(http.ErrAbortHandler) // killed in the middle of a create
		}
		w.Header().Set("Api-Version", "1.41")
	})}
	go server.Serve(l)
	create("while it makes the container", false)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	create("when it has gone", true)
}
