package redteam

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// An answer is what came back over one connection.
type answer struct {
	status int    // of the first answer, 0 where there was none
	body   []byte // of the first answer
	heard  []byte // everything, as it came
}

// Patience with a connection: for its first byte, and for each further one.
const (
	firstByte = 20 * time.Second
	nextByte  = 700 * time.Millisecond
	mostHeard = 4 << 20
)

// say connects as a person, sends a step's request and listens until nothing
// more comes. What was written by hand is sent as by a client that has nothing
// more to say.
func (s *Scene) say(ctx context.Context, who Person, socket, text string, step Step) (answer, error) {
	conn, err := who.Dial(ctx, socket)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to say
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	go func() {
		_, _ = io.WriteString(conn, text) // it may be cut off
		if step.Raw != "" && !step.Stays {
			time.AfterFunc(300*time.Millisecond, func() { _ = conn.CloseWrite() })
		}
	}()
	between := nextByte
	if step.Stays {
		between = firstByte
	}
	heard := s.listen(conn, between)
	a := answer{heard: heard}
	reader := bufio.NewReader(bytes.NewReader(heard))
	if resp, err := http.ReadResponse(reader, nil); err == nil {
		a.status = resp.StatusCode
		a.body, _ = io.ReadAll(resp.Body) // as much as came
		_ = resp.Body.Close()             // it is in memory
	}
	return a, nil
}

func (s *Scene) listen(conn net.Conn, between time.Duration) []byte {
	var heard bytes.Buffer
	buf, patience := make([]byte, 64<<10), firstByte
	for heard.Len() < mostHeard {
		if conn.SetReadDeadline(s.Now().Add(patience)) != nil {
			break
		}
		n, err := conn.Read(buf)
		heard.Write(buf[:n])
		if err != nil {
			break
		}
		patience = between
	}
	return heard.Bytes()
}

// ask sends a request of the scene's own, not an attack, and decodes the
// answer into v, unless v is nil.
func (s *Scene) ask(ctx context.Context, who Person, method, path, body string, v any) (int, error) {
	return s.exchange(ctx, who, s.GatewaySocket, Step{Method: method, Path: path, Body: body}, v)
}

// engine asks the engine itself, past the gateway.
func (s *Scene) engine(ctx context.Context, method, path, body string, v any) (int, error) {
	return s.exchange(ctx, s.self, s.EngineSocket, Step{Method: method, Path: path, Body: body}, v)
}

func (s *Scene) exchange(ctx context.Context, who Person, socket string, step Step, v any) (int, error) {
	conn, err := who.Dial(ctx, socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // read whole
	if err := conn.SetDeadline(s.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, facts{}.request(step)); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read whole
	data, err := io.ReadAll(resp.Body)
	if err != nil || v == nil {
		return resp.StatusCode, err
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = data
		return resp.StatusCode, nil
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(data, v)
}

// idOf returns the id that a create's answer names.
func idOf(body []byte) string {
	var doc struct{ ID string } // in either case: containers have Id
	if json.Unmarshal(body, &doc) != nil {
		return ""
	}
	return doc.ID
}

// messageOf returns the message of a refusal, or the body.
func messageOf(body []byte) string {
	var doc struct{ Message, Detail string }
	if json.Unmarshal(body, &doc) == nil && doc.Message+doc.Detail != "" {
		return strings.TrimSpace(doc.Message + doc.Detail)
	}
	text := strings.TrimSpace(string(body))
	return text[:min(len(text), 200)]
}
