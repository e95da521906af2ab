package lab

import (
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// large is what sets a layer apart from the documents of an image, in bytes.
const large = 1 << 20

// A Registry keeps images in memory and serves them on the loopback address,
// where engines make do without TLS. It is safe for concurrent use.
type Registry struct {
	host    string
	handler http.Handler

	mu             sync.Mutex
	user, password string        // who may ask; "" is everybody
	goOn           chan struct{} // closed when layers go on; nil: none is held up
	heldUp         int
}

// StartRegistry starts a registry without images; it goes with the lab.
func (l *Lab) StartRegistry() *Registry {
	l.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	l.must(err)
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	r := &Registry{host: listener.Addr().String(), handler: registry.New(registry.Logger(quiet))}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // it ends with the lab
	l.t.Cleanup(func() { _ = server.Close() })
	return r
}

// Image returns the name by which engines know an image of this registry.
func (r *Registry) Image(name string) string { return r.host + "/" + name }

// Host returns the registry's address, as a docker login is kept for it.
func (r *Registry) Host() string { return r.host }

// Demand lets in only who logs in with these; "" lets everybody in.
func (r *Registry) Demand(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.password = user, password
}

// HoldUp lets no more than the first half of each layer out until the function
// it returns is called.
func (r *Registry) HoldUp() (goOn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make(chan struct{})
	r.goOn = held
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(held)
		if r.goOn == held {
			r.goOn = nil
		}
	})
}

// HeldUp returns how many engines wait for the second half of a layer. One
// that hangs up waits no longer.
func (r *Registry) HeldUp() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heldUp
}

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !r.letsIn(req) {
		w.Header().Set("WWW-Authenticate", `Basic realm="the lab's registry"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	if strings.HasPrefix(req.URL.Path, "/v1/") { // only a search asks this way, and nothing is found
		_, _ = w.Write([]byte(`{"num_results":0,"results":[]}`)) // an engine that went needs no answer
		return
	}
	if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
		w = &halting{ResponseWriter: w, registry: r, req: req}
	}
	r.handler.ServeHTTP(w, req)
}

func (r *Registry) letsIn(req *http.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, password, _ := req.BasicAuth()
	return r.user == "" || user == r.user && subtle.ConstantTimeCompare([]byte(password), []byte(r.password)) == 1
}

// wait returns when layers may go on, or when who asked has hung up.
func (r *Registry) wait(req *http.Request) {
	r.mu.Lock()
	goOn := r.goOn
	r.mu.Unlock()
	if goOn == nil {
		return
	}
	r.count(1)
	defer r.count(-1)
	select {
	case <-goOn:
	case <-req.Context().Done():
	}
}

func (r *Registry) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heldUp += n
}

// halting stops in the middle of a layer while the registry holds it up.
type halting struct {
	http.ResponseWriter
	registry *Registry
	req      *http.Request
}

func (h *halting) Write(p []byte) (int, error) {
	if len(p) < large {
		return h.ResponseWriter.Write(p)
	}
	half := len(p) / 2
	n, err := h.ResponseWriter.Write(p[:half])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(h.ResponseWriter).Flush() // fails only with the next write
	h.registry.wait(h.req)
	rest, err := h.ResponseWriter.Write(p[half:])
	return n + rest, err
}
