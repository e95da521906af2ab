// Package client speaks the daemon's API over its unix socket: one method per
// route, and exec and logs through the Docker API under /docker/. It keeps no
// state and prints nothing.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"ds01.dev/ds01/internal/problem"
)

// DefaultHost is where the daemon listens unless somebody says otherwise.
const DefaultHost = "unix:///run/ds01/ds01.sock"

// maxErrorBody bounds what is read of a failed call's answer.
const maxErrorBody = 1 << 20

// Client talks to one daemon. It is safe for concurrent use.
type Client struct {
	socket string
	user   string // "": the caller
	http   *http.Client
}

// New returns a client of the daemon at host, "unix:///path/to/socket".
// Nothing is dialled yet. Another scheme is problem.ErrInvalid.
func New(host string) (*Client, error) {
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok || !strings.HasPrefix(socket, "/") {
		return nil, &problem.Error{
			What: fmt.Sprintf("cannot use %q as the daemon's address", host),
			Why:  problem.Because(problem.ErrInvalid, "only unix sockets are known"),
			Next: "Write it as " + DefaultHost + ".",
		}
	}
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true,
	}}
	return c, nil
}

// As returns a client that acts for the user called name, which the daemon
// allows admins only. An empty name is the caller.
func (c *Client) As(name string) *Client {
	other := *c
	other.user = name
	return &other
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", c.socket)
}

// get calls a GET route and decodes its answer.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, query, nil)
}

// send calls a route and decodes its answer into a T.
func send[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var out T
	res, err := c.do(ctx, method, path, c.onBehalf(query), body)
	if err != nil {
		return out, err
	}
	defer drop(res.Body)
	if res.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, c.broken(ctx, fmt.Errorf("decode the answer to %s %s: %w", method, path, err))
	}
	return out, nil
}

// onBehalf adds user=NAME where the client acts for somebody else.
func (c *Client) onBehalf(query url.Values) url.Values {
	if c.user == "" {
		return query
	}
	if query == nil {
		query = url.Values{}
	}
	query.Set("user", c.user)
	return query
}

// do sends one request and returns its answer, which is a success; the caller
// closes the body.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	req, err := newRequest(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer drop(res.Body)
		return nil, failure(res)
	}
	return res, nil
}

func newRequest(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	target := "http://ds01" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// unreachable explains a request that never got an answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return &problem.Error{
			What: "cannot reach the ds01 daemon",
			Why:  problem.Because(problem.ErrUnavailable, "nothing answers at "+c.socket+": is the daemon running?"),
			Next: "Ask an admin to start it ('systemctl start ds01'). If it listens elsewhere, set DS01_HOST or --host.",
		}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &problem.Error{
			What: "cannot reach the ds01 daemon",
			Why:  problem.Because(problem.ErrDenied, "you may not open "+c.socket),
			Next: "Ask an admin to look at the permissions of that path.",
		}
	default:
		return c.broken(ctx, err)
	}
}

// broken explains a connection that ended in the middle.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &problem.Error{
		What: "lost the ds01 daemon at " + c.socket,
		Why:  problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "See what was done with 'ds01 container list', then try again.",
	}
}

// failure reads the error out of a failed call's answer: the API's RFC 9457
// document or the gateway's Docker-shaped message.
func failure(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return fmt.Errorf("read the answer (%s): %w", res.Status, err)
	}
	var both struct {
		problem.Document
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &both) == nil {
		switch {
		case both.Type != "" || both.Title != "":
			return problem.FromDocument(both.Document)
		case both.Message != "":
			return dockerProblem(res.StatusCode, both.Message)
		}
	}
	return dockerProblem(res.StatusCode, "the daemon answered "+res.Status+": "+strings.TrimSpace(string(text)))
}

// dockerProblem takes "ds01: <what>: <why>. <next>" apart and gives it the
// kind that its status stands for.
func dockerProblem(status int, message string) error {
	what, rest, _ := strings.Cut(strings.TrimPrefix(message, "ds01: "), ": ")
	why, next, _ := strings.Cut(rest, ". ")
	if why == "" {
		why = http.StatusText(status)
	}
	return &problem.Error{What: what, Why: problem.Because(kindOf(status), why), Next: next}
}

func kindOf(status int) error {
	switch status {
	case http.StatusBadRequest:
		return problem.ErrInvalid
	case http.StatusForbidden:
		return problem.ErrDenied
	case http.StatusNotFound:
		return problem.ErrNotFound
	case http.StatusConflict:
		return problem.ErrConflict
	case http.StatusTooManyRequests:
		return problem.ErrLimit
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return problem.ErrUnavailable
	default:
		return errInternal
	}
}

// errInternal is of no kind: the process ends with exit code 1.
var errInternal = errors.New("internal failure")

// drop closes what has been read as far as it is wanted: nothing is left to
// lose, so that its error tells nothing.
func drop(c io.Closer) { _ = c.Close() }
