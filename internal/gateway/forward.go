package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// ask sends a request of ours to the engine: path without version, our query,
// our body (nil: none).
func (c *call) ask(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	var headers map[string]string
	if body != nil {
		headers = map[string]string{"Content-Type": "application/json"}
	}
	return c.send(ctx, method, path, query, bytes.NewReader(body), headers)
}

// send is ask with a body that may stream, and headers of ours; empty ones are
// left out.
func (c *call) send(ctx context.Context, method, path string, query url.Values, body io.Reader, headers map[string]string) (*http.Response, error) {
	target := path
	if c.version != "" {
		target = "/v" + c.version + path
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for key, value := range headers {
		if value != "" {
			req.Header.Set(key, value)
		}
	}
	return c.Engine.RoundTrip(req)
}

// fetch asks and reads the whole answer; one that isn't a success is returned
// as the error that ends the call.
func (c *call) fetch(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	var data bytes.Buffer
	err := c.fetchInto(ctx, &data, method, path, query, body)
	return data.Bytes(), err
}

// fetchInto reads the answer into a buffer that the caller uses again.
func (c *call) fetchInto(ctx context.Context, data *bytes.Buffer, method, path string, query url.Values, body []byte) error {
	resp, err := c.ask(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	if resp.StatusCode >= http.StatusMultipleChoices {
		return c.relay(resp)
	}
	if _, err := data.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil
}

// relay sends the engine's answer on as it is; of one whose end isn't known it
// flushes each piece. It returns errAnswered.
func (c *call) relay(resp *http.Response) error {
	c.head(resp)
	if resp.StatusCode >= http.StatusBadRequest {
		c.relayError(resp.Body)
		return errAnswered
	}
	flush := func() {}
	if resp.ContentLength < 0 {
		flush = func() { _ = http.NewResponseController(c.w).Flush() } // fails only with the next write
	}
	flush() // the head goes out before the first byte of a stream
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := c.w.Write(buf[:n]); werr != nil {
				return errAnswered // the client went
			}
			flush()
		}
		if errors.Is(err, io.EOF) {
			return errAnswered
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a stream that broke off must not look whole
		}
	}
}

// relayDocuments sends a stream of JSON documents on, each as show returns it;
// those that it doesn't are left out. It returns errAnswered.
func (c *call) relayDocuments(resp *http.Response, show func([]byte) ([]byte, bool)) error {
	if resp.StatusCode != http.StatusOK {
		return c.relay(resp)
	}
	c.head(resp)
	flusher := http.NewResponseController(c.w)
	_ = flusher.Flush() // the head goes out before the first document
	for dec := json.NewDecoder(resp.Body); ; {
		var doc json.RawMessage
		if err := dec.Decode(&doc); err != nil {
			return errAnswered // the stream is over
		}
		out, ok := show(doc)
		if !ok {
			continue
		}
		if _, err := c.w.Write(append(out, '\n')); err != nil {
			return errAnswered // the client went
		}
		_ = flusher.Flush() // fails only with the next write
	}
}

// ownNames puts the caller's own names in the place of the engine's.
func (c *call) ownNames(raw []byte) []byte {
	return bytes.ReplaceAll(raw, []byte(account.EngineName("", c.who.UID)+`"`), []byte(`"`))
}

// stats streams what the caller's container uses.
func (c *call) stats() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	resp, err := c.ask(c.r.Context(), http.MethodGet, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read until the client goes
	return c.relayDocuments(resp, func(doc []byte) ([]byte, bool) { return c.ownNames(doc), true })
}

// relayError sends an error of the engine on in the caller's own names.
func (c *call) relayError(body io.Reader) {
	data, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return
	}
	suffix := account.EngineName("", c.who.UID)
	_, _ = c.w.Write(c.ownImages(bytes.ReplaceAll(data, []byte(suffix), nil))) // a client that went needs no answer
}

// head copies the status and the headers that clients read.
func (c *call) head(resp *http.Response) {
	for _, key := range []string{"Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "Server", "Builder-Version", "Swarm", "Date", pathStat} {
		if v := resp.Header.Get(key); v != "" && key != "Builder-Version" && key != "Swarm" {
			c.w.Header().Set(key, v)
		}
	}
	c.w.WriteHeader(resp.StatusCode)
}

// json answers with a document of ours.
func (c *call) json(status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return c.raw(status, data)
}

func (c *call) raw(status int, data []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if v := c.API(); v != "" {
		h.Set("Api-Version", v)
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(data) // a client that went needs no answer
	return errAnswered
}

// pass sends the request on by its route; the route has no {id}.
func (c *call) pass() error {
	resp, err := c.ask(c.r.Context(), c.match.Method, c.match.Pattern, c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

// path returns the route's path with the full id in place of {id}.
func (c *call) path(id string) string { return strings.Replace(c.match.Pattern, "{id}", id, 1) }

// stream sends the request on about the caller's container and streams the
// answer while the client listens.
func (c *call) stream() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	return c.streamOf(record)
}

func (c *call) streamOf(record container.Record) error {
	resp, err := c.ask(c.r.Context(), c.match.Method, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

// change sends a request on that changes the caller's container. It goes on
// when the client hangs up, and the record is in step before the answer.
func (c *call) change() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	resp, err := c.ask(ctx, c.match.Method, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	if resp.StatusCode < http.StatusMultipleChoices {
		c.observe(ctx, record)
	}
	return c.relay(resp)
}

// observe brings the record in step; a failure is made up for by the events.
func (c *call) observe(ctx context.Context, record container.Record) {
	if _, ok := c.Ledger.Record(record.ID); !ok {
		return // the event of its end came first
	}
	if err := c.Observer.Observe(ctx, record.ContainerID); err != nil && !errors.Is(err, problem.ErrNotFound) {
		c.Log.WarnContext(ctx, "container not looked up", "container", record.ContainerID, "error", err)
	}
}
