package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
)

// listen opens both sockets before anything is served.
func (d *daemon) listen(ctx context.Context) error {
	gateway := d.gateway()
	mux := http.NewServeMux()
	mux.Handle("/docker/", http.StripPrefix("/docker", gateway))
	mux.Handle("/", d.api())
	for _, s := range []struct {
		path    string
		handler http.Handler
	}{{d.paths.APISocket, mux}, {d.paths.Gateway, gateway}} {
		server, err := newServer(ctx, s.path, s.handler)
		if err != nil {
			return err
		}
		d.servers = append(d.servers, server)
		d.onClose(server.close)
	}
	d.doors.handler = gateway
	return d.doors.restore(ctx, d.ledger.Record, d.settings.config().Gateway.Doors)
}

// server serves HTTP on one unix socket.
type server struct {
	path     string
	listener net.Listener
	http     *http.Server
	cancel   context.CancelFunc // ends the streams that go on
}

// newServer listens on a socket that everybody may connect to: who may do
// what is decided by who they are.
func newServer(ctx context.Context, path string, handler http.Handler) (*server, error) {
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // people must reach the socket
		return nil, fmt.Errorf("folder of socket %s: %w", path, err)
	}
	listener, err := listenAt(path)
	if err != nil {
		return nil, err
	}
	return serverOn(ctx, listener, path, handler, peer.ConnContext), nil
}

// listenAt makes a socket that everybody may connect to who reaches it.
func listenAt(path string) (*net.UnixListener, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, notListening(path, problem.ErrUnavailable, err.Error())
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // the kernel tells who connects
		return nil, errors.Join(notListening(path, problem.ErrUnavailable, err.Error()), listener.Close())
	}
	return listener, nil
}

// serverOn returns a server on what listens already; who finds out who connects.
func serverOn(ctx context.Context, listener net.Listener, path string, handler http.Handler, who func(context.Context, net.Conn) context.Context) *server {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &server{path: path, listener: listener, cancel: cancel, http: &http.Server{
		Handler:           handler,
		ConnContext:       who,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// "OPTIONS *" is a request like any other.
		DisableGeneralOptionsHandler: true,
	}}
}

// clearSocket removes a socket that nobody listens on; anything else in its
// place is an error.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return notListening(path, problem.ErrUnavailable, err.Error())
	}
	if info.Mode()&os.ModeSocket == 0 {
		return notListening(path, problem.ErrConflict, "there is a file that is no socket")
	}
	if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(notListening(path, problem.ErrConflict, "another process listens there"), conn.Close())
	}
	return os.Remove(path)
}

func notListening(path string, kind error, why string) error {
	return &problem.Error{
		What: "ds01 can't listen on " + path, Why: problem.Because(kind, why),
		Next: "Stop what uses the path, or choose another one in ds01.yaml (gateway.listen) or with --root.",
	}
}

// grace is how long requests may take to end when the daemon stops.
const grace = 3 * time.Second

func (s *server) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.path, err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		s.cancel()
		_ = s.http.Close() // whoever still talks is cut off
	}
	<-served //nolint:errcheck // it says that the server was closed
	return nil
}

func (s *server) close() error {
	s.cancel()
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}
