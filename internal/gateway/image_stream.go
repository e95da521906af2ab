package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"ds01.dev/ds01/internal/problem"
)

// upload sends a stream of the client's to the engine. The engine may go on
// with what it has when the client hangs up, so its answer is waited for. It
// answers once it has read everything.
func (c *call) upload(path string, query url.Values, body io.Reader) (*http.Response, error) {
	ctx := context.WithoutCancel(c.r.Context())
	return c.send(ctx, http.MethodPost, path, query, guardedBody{body, ctx, c}, map[string]string{"Content-Type": "application/x-tar"})
}

// follow relays a stream of JSON documents as show returns them, nil to leave
// one out, and reads on to its end when the client has gone. An answer that is
// no success is relayed as it is: errAnswered. One that breaks off is an error.
func (c *call) follow(resp *http.Response, show func([]byte) []byte) error {
	if resp.StatusCode != http.StatusOK {
		return c.relay(resp)
	}
	c.head(resp)
	flusher := http.NewResponseController(c.w)
	_ = flusher.Flush() // the head goes out before the first document
	for dec := json.NewDecoder(resp.Body); ; {
		var doc json.RawMessage
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if out := show(doc); out != nil {
			c.tell(out)
		}
	}
}

// tell sends one document of a stream.
func (c *call) tell(doc []byte) {
	_, _ = c.w.Write(append(doc, '\r', '\n'))   // a client that went needs no answer
	_ = http.NewResponseController(c.w).Flush() // fails only with the next write
}

// tellError ends a stream with an error, as the engine does.
func (c *call) tellError(err error) error {
	text := problem.OneLine(err)
	doc, merr := json.Marshal(map[string]any{"errorDetail": map[string]string{"message": text}, "error": text})
	if merr != nil {
		return fmt.Errorf("encode the answer: %w", merr)
	}
	c.tell(doc)
	return errAnswered
}
