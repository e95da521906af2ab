package redteam

import (
	"context"
	"errors"
	"fmt"
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
	sprung   sync.WaitGroup

	mu    sync.Mutex
	heard []string // how each connection began
}

// makeTrap lays the trap, which is also a registry that no site lists.
func (s *Scene) makeTrap(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen on a port of the host's: %w", err)
	}
	s.trap = &trap{listener: listener, now: s.Now}
	s.trap.sprung.Go(s.trap.listen)
	s.later(func(context.Context) error {
		err := listener.Close()
		s.trap.sprung.Wait()
		return err
	})
	s.facts["{trap}"] = listener.Addr().String()
	if s.Unlisted {
		s.facts["{unlisted}"] = s.facts["{trap}"]
	}
	return nil
}

// listen notes who connects, until the trap is taken away.
func (t *trap) listen() {
	for {
		conn, err := t.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			t.sprung.Go(func() { t.note(conn) })
		}
	}
}

func (t *trap) note(conn net.Conn) {
	var begin [64]byte
	n := 0
	if conn.SetReadDeadline(t.now().Add(nextByte)) == nil {
		n, _ = conn.Read(begin[:]) // that it came is enough
	}
	_ = conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := strings.Cut(string(begin[:n]), "\n")
	t.heard = append(t.heard, fmt.Sprintf("a port of the host was reached: %q", strings.TrimSpace(line)))
}

// told returns who has connected since it was last asked.
func (t *trap) told() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard := t.heard
	t.heard = nil
	return heard
}
