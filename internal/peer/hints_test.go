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
	other := p
	other.UID = 70002
	if got := other.Hints(); got != (peer.Hints{}) {
		t.Errorf("a process of somebody else's: %+v", got)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := p.Hints(); got != (peer.Hints{}) {
		t.Errorf("a process that has ended: %+v", got)
	}
}
