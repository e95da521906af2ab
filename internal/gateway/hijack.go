package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/sampler"
)

func (c *call) attach() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	terminal := ""
	if c.truth("stdin") && c.hasTerminal(record.ContainerID) {
		terminal = record.ContainerID
	}
	return c.hijack(c.path(record.ContainerID), nil, terminal)
}

// hasTerminal reports whether the program of a container has a terminal. If the
// engine doesn't tell, it is taken to have one.
func (c *call) hasTerminal(id string) bool {
	resp, err := c.ask(context.WithoutCancel(c.r.Context()), http.MethodGet, "/containers/"+id+"/json", nil, nil)
	if err != nil {
		return true
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	var seen struct{ Config struct{ Tty bool } }
	err = json.NewDecoder(resp.Body).Decode(&seen)
	return err != nil || resp.StatusCode != http.StatusOK || seen.Config.Tty
}

func (c *call) execStart() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReviewExecStart(data)
	if err != nil {
		return err
	}
	c.r = c.r.WithContext(context.WithoutCancel(c.r.Context())) // see hijack
	record, terminal, err := c.ownExec()
	if err != nil {
		return err
	}
	c.awaitCopies(record)
	encoded, err := admission.Encode(body)
	if err != nil {
		return err
	}
	if terminal {
		return c.hijack(c.path(c.match.Param), encoded, record.ContainerID)
	}
	return c.hijack(c.path(c.match.Param), encoded, "")
}

// hijack sends a request of ours over a connection of its own and, once the
// engine has agreed to a stream, splices the client's connection to it. The
// connection is never used again. Where the stream leads to a terminal in a
// container, terminal is that container.
func (c *call) hijack(path string, body []byte, terminal string) error {
	upstream, err := c.Engine.Dial(context.WithoutCancel(c.r.Context()))
	if err != nil {
		return err
	}
	defer upstream.Close() //nolint:errcheck // the stream is over
	// The request's context ends when the client closes its half, which is
	// how a client without input says so: only the daemon's end counts.
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-c.Closing:
			_ = upstream.Close() // both copies end
		case <-over:
		}
	}()
	reader, resp, err := c.open(upstream, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // a hijacked body ends with its connection
	if resp.StatusCode != http.StatusSwitchingProtocols && !isStream(resp) {
		return c.relay(resp)
	}
	client, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection over: %w", err)
	}
	defer client.Close() //nolint:errcheck // the stream is over
	if err := writeHead(client, resp); err != nil {
		return errAnswered // the client went
	}
	var input io.Reader = buffered.Reader
	if terminal != "" {
		at := c.Terminals.Open(terminal)
		defer at.Close()
		input = keyboard{input, at}
	}
	splice(client, input, upstream, reader)
	return errAnswered
}

// A keyboard is the input of somebody who sits at a terminal.
type keyboard struct {
	io.Reader
	at *sampler.Terminal
}

func (k keyboard) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if n > 0 {
		k.at.Typed()
	}
	return n, err
}

// open writes the request by hand and reads the head of the answer.
func (c *call) open(upstream net.Conn, path string, body []byte) (*bufio.Reader, *http.Response, error) {
	target := path
	if c.version != "" {
		target = "/v" + c.version + path
	}
	if len(c.match.Query) > 0 {
		target += "?" + c.match.Query.Encode()
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", target, len(body))
	if c.r.Header.Get("Upgrade") != "" {
		head.WriteString("Connection: Upgrade\r\nUpgrade: tcp\r\n")
	}
	head.WriteString("\r\n")
	head.Write(body)
	if _, err := upstream.Write(head.Bytes()); err != nil {
		return nil, nil, fmt.Errorf("send to the engine: %w", err)
	}
	reader := bufio.NewReader(upstream)
	resp, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	return reader, resp, nil
}

func isStream(resp *http.Response) bool {
	switch resp.Header.Get("Content-Type") {
	case "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream":
		return resp.StatusCode == http.StatusOK
	}
	return false
}

func writeHead(client io.Writer, resp *http.Response) error {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %s\r\nContent-Type: %s\r\n", resp.Status, resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusSwitchingProtocols {
		head.WriteString("Connection: Upgrade\r\nUpgrade: tcp\r\n")
	}
	head.WriteString("\r\n")
	_, err := client.Write(head.Bytes())
	return err
}

// splice copies both ways until the engine's side has ended or the client is
// gone. The end of the client's input is passed on, so that a command reading
// it ends.
func splice(client net.Conn, fromClient io.Reader, upstream net.Conn, fromEngine io.Reader) {
	var input sync.WaitGroup
	input.Go(func() {
		_, _ = io.Copy(upstream, fromClient) // either side may hang up
		closeWrite(upstream)
		if hungUp(client) {
			_ = upstream.Close() // a command that says nothing would keep it for ever
		}
	})
	_, _ = io.Copy(client, fromEngine) // either side may hang up
	closeWrite(client)
	// The input's copy ends with its connections.
	_ = client.Close()
	_ = upstream.Close()
	input.Wait()
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side went already
	}
}

// hungUp waits until a client whose input has ended closes its connection
// altogether, and returns true; until then it still listens. It returns false
// once the connection is closed here, and where the kernel can't tell.
func hungUp(client net.Conn) bool {
	conn, ok := client.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		state := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // descriptors are small
		_, err := unix.Poll(state, 0)
		gone = err == nil && state[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		return gone
	})
	return err == nil && gone
}
