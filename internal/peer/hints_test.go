package peer_test

import (
	"testing"

	"ds01.dev/ds01/internal/peer"
)

func TestHintsTellWhatThePeerRuns(t *testing.T) {
	conn, cmd := connected(t, user(70001, 70001))
	p, err := peer.Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Hints(); got.Exe != cmd.Path {
		t.Errorf("it runs %q, not %q", cmd.Path, got.Exe)
	}
	number := peer.Peer{UID: p.UID, GID: p.GID, PID: p.PID} // as when another process got the number
	if got := number.Hints(); got != (peer.Hints{}) {
		t.Errorf("a process that may be another: %+v", got)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := p.Hints(); got != (peer.Hints{}) {
		t.Errorf("a process that has ended: %+v", got)
	}
}
