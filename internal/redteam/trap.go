package redteam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A trap is a port of the host's that nobody has any business at: no program of
// the host's may be made to connect to it. It answers nothing.
type trap struct {
	listener net.Listener
	now      func() time.Time
	done     chan struct{}

	mu    sync.Mutex
	heard []visit
}

// A visit is one connection to a trap: where it came from and how it began.
type visit struct{ from, line string }

// makeTrap lays the trap, which is also a registry that no site lists.
func (s *Scene) makeTrap(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen on a port of the host's: %w", err)
	}
	s.trap = &trap{listener: listener, now: s.Now, done: make(chan struct{})}
	go s.trap.listen()
	s.later(func(context.Context) error {
		err := listener.Close()
		<-s.trap.done
		return err
	})
	s.facts["{trap}"] = listener.Addr().String()
	if s.Unlisted {
		s.facts["{unlisted}"] = s.facts["{trap}"]
	}
	return nil
}

// listen notes who connects, one after the other, until the trap is taken away.
func (t *trap) listen() {
	defer close(t.done)
	for {
		conn, err := t.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			t.note(conn)
		}
	}
}

// note writes down how a connection began, and only then ends it: an attack
// whose connection ends is answered at once.
func (t *trap) note(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var begin [64]byte
	n := 0
	if conn.SetReadDeadline(t.now().Add(nextByte)) == nil {
		n, _ = conn.Read(begin[:]) // that it came is enough
	}
	line, _, _ := strings.Cut(string(begin[:n]), "\n")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = append(t.heard, visit{from: conn.RemoteAddr().String(), line: strings.TrimSpace(line)})
}

// told returns who has connected since it was last asked. It connects itself
// and waits for its turn, behind all who came before.
func (t *trap) told(ctx context.Context) []string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.listener.Addr().String())
	if err == nil {
		defer func() { _ = conn.Close() }()
		if half, ok := conn.(*net.TCPConn); ok {
			err = half.CloseWrite()
		}
	}
	if err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	if err != nil {
		return []string{"whether a port of the host was reached can't be told: " + err.Error()}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []string
	for _, v := range t.heard {
		if v.from != conn.LocalAddr().String() {
			found = append(found, fmt.Sprintf("a port of the host was reached: %q", v.line))
		}
	}
	t.heard = nil
	return found
}
