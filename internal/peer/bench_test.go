package peer_test

import (
	"os"
	"testing"

	"ds01.dev/ds01/internal/peer"
)

func BenchmarkHints(b *testing.B) {
	p := peer.Peer{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid()}
	for b.Loop() {
		if p.Hints().Exe == "" {
			b.Fatal("nothing is known of this process")
		}
	}
}

func BenchmarkOrigin(b *testing.B) {
	p, err := peer.Of(accepted(b))
	if err != nil {
		b.Fatal(err)
	}
	origins := peer.NewOrigins()
	for b.Loop() {
		if origins.Of(p) == "" {
			b.Fatal("nothing is known of this process")
		}
	}
}
