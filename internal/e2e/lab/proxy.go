package lab

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
)

// A Fate is what becomes of one request on its way to the engine. The zero
// value lets it pass.
type Fate struct {
	LoseRequest bool          // the engine never hears of it
	Late        time.Duration // the engine hears of it so much later
	LoseReply   bool          // the engine does it, nobody hears the answer
	Delay       time.Duration // the answer, or its loss, comes so much later
	Arrived     chan struct{} // closed when the whole request has come; nil: nobody waits for it
	Until       chan struct{} // the answer, or its loss, comes when this is closed, too
}

func (f Fate) wait() {
	time.Sleep(f.Delay)
	if f.Until != nil {
		<-f.Until
	}
}

// Once gives the next request that fits this fate, and lets all others pass.
func Once(fits func(*http.Request) bool, fate Fate) func(*http.Request) Fate {
	var done atomic.Bool
	return func(r *http.Request) Fate {
		if fits(r) && done.CompareAndSwap(false, true) {
			return fate
		}
		return Fate{}
	}
}

// Starts reports whether a request starts a container.
func Starts(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/containers/") && strings.HasSuffix(r.URL.Path, "/start")
}

// A Proxy stands between the daemon and the engine and loses what it is told
// to lose. It is safe for concurrent use.
type Proxy struct {
	upstream *http.Transport

	mu   sync.Mutex
	fate func(*http.Request) Fate
}

// startProxy listens where the daemon looks for the engine.
func (l *Lab) startProxy() {
	l.t.Helper()
	engine := l.Engine
	p := &Proxy{
		fate: func(*http.Request) Fate { return Fate{} },
		upstream: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialEngine(ctx, engine)
		}},
	}
	listener, err := net.Listen("unix", filepath.Join(l.Root, "run/ds01/engine.sock"))
	l.must(err)
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // it ends with the lab
	l.t.Cleanup(func() {
		_ = server.Close() // nobody listens any more
		p.upstream.CloseIdleConnections()
	})
	l.Proxy = p
}

func dialEngine(ctx context.Context, e *scratch.Engine) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", e.Host()[len("unix://"):])
}

// Decide sets what becomes of requests from now on; nil lets all pass.
func (p *Proxy) Decide(fate func(*http.Request) Fate) {
	if fate == nil {
		fate = func(*http.Request) Fate { return Fate{} }
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fate = fate
}

func (p *Proxy) handler() http.Handler {
	pass := &httputil.ReverseProxy{
		Transport: p.upstream, FlushInterval: -1,
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fate := p.fate(r)
		p.mu.Unlock()
		if fate == (Fate{}) {
			pass.ServeHTTP(w, r)
			return
		}
		p.suffer(w, r, fate)
	})
}

// suffer carries a request out, as far as its fate allows, also when who asked
// has hung up.
func (p *Proxy) suffer(w http.ResponseWriter, r *http.Request, fate Fate) {
	body, err := io.ReadAll(r.Body)
	if fate.Arrived != nil {
		close(fate.Arrived)
	}
	if err != nil || fate.LoseRequest {
		fate.wait()
		panic(http.ErrAbortHandler)
	}
	time.Sleep(fate.Late)
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", "docker"
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	resp, err := p.upstream.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close() //nolint:errcheck // read whole
	answer, err := io.ReadAll(resp.Body)
	fate.wait()
	if err != nil || fate.LoseReply {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer) // a daemon that went needs no answer
}
