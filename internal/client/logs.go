package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LogOptions says which part of a container's output to read.
type LogOptions struct {
	Follow bool
	Tail   int       // last lines; 0: all
	Since  time.Time // zero: from the beginning
}

// Logs copies what the container, known by its id, has written to stdout and
// stderr; with Follow until it stops or ctx ends. The output of a container
// with a terminal is one stream and goes to stdout.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions, stdout, stderr io.Writer) error {
	path := "/containers/" + url.PathEscape(id)
	inspect, err := getDocker[struct{ Config struct{ Tty bool } }](ctx, c, path+"/json", nil)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodGet, dockerAPI+path+"/logs", o.query(), nil)
	if err != nil {
		return err
	}
	defer drop(res.Body)
	if inspect.Config.Tty {
		_, err = io.Copy(stdout, res.Body)
	} else {
		err = demultiplex(stdout, stderr, res.Body)
	}
	if err != nil {
		return c.broken(ctx, fmt.Errorf("read the logs: %w", err))
	}
	return nil
}

func (o LogOptions) query() url.Values {
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}}
	if o.Follow {
		query.Set("follow", "1")
	}
	if o.Tail > 0 {
		query.Set("tail", strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		query.Set("since", strconv.FormatInt(o.Since.Unix(), 10))
	}
	return query
}

func getDocker[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return sendDocker[T](ctx, c, http.MethodGet, path, query, nil)
}

// sendDocker calls a route of the Docker API. An answer without a body leaves
// the T at its zero value.
func sendDocker[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var out T
	res, err := c.do(ctx, method, dockerAPI+path, query, body)
	if err != nil {
		return out, err
	}
	defer drop(res.Body)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return out, c.broken(ctx, err)
	}
	if len(text) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, c.broken(ctx, fmt.Errorf("decode the answer to %s %s: %w", method, path, err))
	}
	return out, nil
}
