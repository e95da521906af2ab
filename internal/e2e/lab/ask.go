package lab

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Ask sends one request of the Docker API to the gateway as a person, with
// curl, and returns the status and the body of the answer. body "" sends none.
func (l *Lab) Ask(name, method, path, body string) (status int, answer string) {
	l.t.Helper()
	words := []string{
		"curl", "-s", "--max-time", "60", "--unix-socket", l.GatewaySocket(), "-X", method,
		"-w", "\n%{http_code}", "http://docker/v1.41" + path,
	}
	if method == http.MethodHead {
		words = append(words, "--head", "-o", "/dev/null") // else curl waits for a body
	}
	if body != "" {
		words = append(words, "-H", "Content-Type: application/json", "--data-binary", body)
	}
	r := l.Run(name, words...)
	cut := strings.LastIndex("\n"+r.Out, "\n")
	status, err := strconv.Atoi(r.Out[cut:])
	l.must(err)
	return status, strings.TrimSpace(r.Out[:max(cut-1, 0)])
}

// GatewaySocket returns the path of the socket that people's clients use.
func (l *Lab) GatewaySocket() string { return filepath.Join(l.Root, "run/docker.sock") }

// Clients returns every stock docker client on PATH, each once.
func (l *Lab) Clients() []string {
	l.t.Helper()
	var all []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "docker"))
		if err == nil && !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	if len(all) == 0 {
		l.t.Fatal("no docker client on PATH; 'make deps' installs one")
	}
	return all
}

// Reload makes the daemon read its files again and waits until it has.
func (l *Lab) Reload() {
	l.t.Helper()
	const reloaded = "configuration reloaded"
	seen := strings.Count(l.Log(), reloaded)
	l.Signal(syscall.SIGHUP)
	l.Eventually("the daemon has read its files again", 30*time.Second, func() bool { return strings.Count(l.Log(), reloaded) > seen })
}

// Binary returns the path of the ds01 under test.
func (l *Lab) Binary() string { return l.opts.Binary }

// Config returns the daemon's configuration as the lab wrote it.
func (l *Lab) Config() string { return l.config() }
