package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// hijack sends a request that turns its connection into a stream both ways.
// The caller closes the stream.
func (c *Client) hijack(ctx context.Context, path string, body any) (*stream, error) {
	req, err := newRequest(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { drop(conn) })
	s := &stream{Conn: conn, buffered: bufio.NewReader(conn), release: stop}
	if err := s.handshake(req); err != nil {
		drop(s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return s, nil
}

// A stream is a hijacked connection: what the server sent behind its answer's
// head is read first.
type stream struct {
	net.Conn
	buffered *bufio.Reader
	release  func() bool
}

func (s *stream) handshake(req *http.Request) error {
	if err := req.Write(s.Conn); err != nil {
		return fmt.Errorf("send the request: %w", err)
	}
	res, err := http.ReadResponse(s.buffered, req)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer drop(res.Body)
		return failure(res)
	}
	// 101, or the 200 of old engines: from here on the connection is the
	// stream, and the body isn't read through the response.
	return nil
}

func (s *stream) Read(p []byte) (int, error) { return s.buffered.Read(p) }

// Close ends the stream in both directions.
func (s *stream) Close() error {
	s.release()
	return s.Conn.Close()
}

// closeWrite tells the other side that nothing more is sent.
func (s *stream) closeWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection can't be closed one way")
	}
	return half.CloseWrite()
}

// Stream numbers of the engine's multiplexed format.
const (
	frameHeader = 8
	frameStdout = 1
	frameStderr = 2
	frameSystem = 3
)

// demultiplex copies the engine's frames (one byte stream number, three zero
// bytes, four bytes length, then the payload) to stdout and stderr until the
// source ends. A frame of the third number is the engine's own error.
func demultiplex(stdout, stderr io.Writer, source io.Reader) error {
	var header [frameHeader]byte
	for {
		if _, err := io.ReadFull(source, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read a frame: %w", err)
		}
		payload := io.LimitReader(source, int64(binary.BigEndian.Uint32(header[4:])))
		switch header[0] {
		case 0, frameStdout:
			if err := copyFrame(stdout, payload); err != nil {
				return err
			}
		case frameStderr:
			if err := copyFrame(stderr, payload); err != nil {
				return err
			}
		case frameSystem:
			text, err := io.ReadAll(io.LimitReader(payload, maxErrorBody))
			if err != nil {
				return fmt.Errorf("read the engine's error: %w", err)
			}
			return fmt.Errorf("the engine reported: %s", text)
		default:
			return fmt.Errorf("stream number %d is unknown: the stream isn't multiplexed", header[0])
		}
	}
}

// copyFrame copies one payload whole; a payload that ends early is an error.
func copyFrame(to io.Writer, payload io.Reader) error {
	if _, err := io.Copy(to, payload); err != nil {
		return fmt.Errorf("copy a frame: %w", err)
	}
	if rest, ok := payload.(*io.LimitedReader); ok && rest.N > 0 {
		return fmt.Errorf("copy a frame: %w", io.ErrUnexpectedEOF)
	}
	return nil
}
