package bench_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
)

// hopName is the name under which the test binary is a proxy.
const hopName = "hop"

// serveHop stands at a socket before another one, and looks at nothing: what it adds to
// a call is what there is to be had.
func serveHop(listen, engine string) error {
	l, err := net.Listen("unix", listen)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine)
	}}
	return http.Serve(l, proxy)
}

// hop starts one before an engine, and returns a client of it.
func hop(b *testing.B, e *scratch.Engine) *http.Client {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(folder(b), "hop.sock")
	cmd := &exec.Cmd{Path: self, Args: []string{hopName, socket, strings.TrimPrefix(e.Host(), "unix://")}, Stderr: os.Stderr}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	c := newClient("unix://"+socket, 0)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := ask(c, http.MethodGet, "/_ping", ""); err == nil {
			return c
		} else if time.Now().After(end) {
			b.Fatal(fmt.Errorf("the proxy doesn't answer: %w", err))
		}
	}
}
