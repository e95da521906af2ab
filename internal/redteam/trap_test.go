package redteam

import (
	"net"
	"slices"
	"testing"
	"time"
)

// TestATrapTellsOfEveryConnection asks it as soon as a connection has ended, or
// was left again: what is told late is told of another attack, or of none.
func TestATrapTellsOfEveryConnection(t *testing.T) {
	s := &Scene{Stage: Stage{Now: time.Now}, facts: facts{}}
	if err := s.makeTrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, undo := range s.undo {
			if err := undo(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}()
	for round := range 500 {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", s.facts["{trap}"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET /v2/ HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			_, _ = conn.Read(make([]byte, 1)) // until it is ended
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		want := []string{`a port of the host was reached: "GET /v2/ HTTP/1.1"`}
		if got := s.trap.told(t.Context()); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q", round, got)
		}
		if got := s.trap.told(t.Context()); len(got) != 0 {
			t.Fatalf("round %d, when nobody came: %q", round, got)
		}
	}
}
