package client

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// EvalPolicy returns what would become of a request for a container or a build.
// Nothing is created.
func (c *Client) EvalPolicy(ctx context.Context, want apitype.TryContainer) (apitype.Explanation, error) {
	return send[apitype.Explanation](ctx, c, http.MethodPost, "/v1/policy/eval", nil, want)
}

// Supposed serves the Docker API to run, which is told the address, as the
// daemon does, but for changes: those are refused, and the first request for a
// container, or for a build by the classic builder, is what it returns. Whatever flags a stock client knows, that is
// what it makes of them. ok is false where there was none.
func (c *Client) Supposed(ctx context.Context, run func(host string) error) (want apitype.TryContainer, ok bool, err error) {
	dir, err := os.MkdirTemp("", "ds01-")
	if err != nil {
		return want, false, fmt.Errorf("folder of a socket: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "docker.sock")
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return want, false, fmt.Errorf("listen for docker: %w", err)
	}
	s := &supposed{looks: &httputil.ReverseProxy{Transport: c.http.Transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "docker", Path: "/docker"})
	}}}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = run("unix://" + socket)
	_ = server.Close() // nobody asks any more
	<-served           //nolint:errcheck // it says that it was closed
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want, s.seen, err
}

// supposed keeps the first request for a container.
type supposed struct {
	looks http.Handler

	mu   sync.Mutex
	want apitype.TryContainer
	seen bool
}

// ServeHTTP hands looks on and refuses all else.
func (s *supposed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		s.looks.ServeHTTP(w, r)
		return
	}
	message := r.Method + " " + r.URL.Path + " is only supposed"
	keep := func(*http.Request) error { return nil }
	switch name := path.Clean(r.URL.Path); {
	case strings.HasSuffix(name, "/containers/create"):
		keep = s.keep
	case strings.HasSuffix(name, "/build"):
		keep = s.keepBuild
	}
	if err := keep(r); err != nil {
		message = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // a client that went needs no answer
}

// maxSupposed is more than a request for a container has, in bytes.
const maxSupposed = 4 << 20

func (s *supposed) keep(r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSupposed))
	if err != nil {
		return &problem.Error{What: "the request wasn't read", Why: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen {
		s.want, s.seen = apitype.TryContainer{Name: r.URL.Query().Get("name"), Body: string(body)}, true
	}
	return nil
}

// keepBuild keeps a build's query and its Dockerfile, and lets the rest of the
// context go by.
func (s *supposed) keepBuild(r *http.Request) error {
	want := apitype.TryBuild{Query: r.URL.RawQuery}
	name, found := r.URL.Query().Get("dockerfile"), false
	for in := tar.NewReader(r.Body); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &problem.Error{What: "the context wasn't read", Why: err}
		}
		if path.Clean(h.Name) != path.Clean(cmp.Or(name, "Dockerfile")) {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(in, maxSupposed))
		if err != nil {
			return &problem.Error{What: "the Dockerfile wasn't read", Why: err}
		}
		want.Dockerfile, found = string(text), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found && !s.seen {
		s.want, s.seen = apitype.TryContainer{Build: &want}, true
	}
	return nil
}
