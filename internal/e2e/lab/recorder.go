package lab

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ds01.dev/ds01/internal/admission"
)

// A Recorder stands between a person's clients and the gateway, asks in their
// name, and keeps which routes they have taken. It is safe for concurrent use.
type Recorder struct {
	socket string
	table  *admission.Table

	mu    sync.Mutex
	taken map[string]bool
}

// Record starts a recorder for a person; it goes with the lab.
func (l *Lab) Record(name string) *Recorder {
	l.t.Helper()
	r := &Recorder{socket: filepath.Join(l.Root, name+".sock"), table: admission.NewTable(), taken: map[string]bool{}}
	person, gateway := l.Person(name), l.GatewaySocket()
	upstream := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return person.Dial(ctx, gateway) },
	}
	pass := &httputil.ReverseProxy{
		Transport: upstream, FlushInterval: -1, ModifyResponse: r.note,
		Rewrite:      func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	listener, err := net.Listen("unix", r.socket)
	l.must(err)
	l.must(os.Chmod(r.socket, 0o666))
	server := &http.Server{Handler: pass, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // it ends with the lab
	l.t.Cleanup(func() { _ = server.Close() })
	return r
}

// Host is the variable that makes Docker's clients speak through the recorder.
func (r *Recorder) Host() string { return "DOCKER_HOST=unix://" + r.socket }

// Taken reports whether a client took a route, and its answer was no error.
func (r *Recorder) Taken(route admission.Route) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[row(route)]
}

func (r *Recorder) note(resp *http.Response) error {
	m, err := r.table.Match(resp.Request.Method, resp.Request.URL.EscapedPath(), resp.Request.URL.RawQuery)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken[row(m.Route)] = true
	return nil
}

func row(route admission.Route) string { return route.Method + " " + route.Pattern }
