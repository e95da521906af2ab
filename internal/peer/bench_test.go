package peer_test

import (
	"testing"

	"ds01.dev/ds01/internal/peer"
)

func BenchmarkHints(b *testing.B) {
	p, err := peer.Of(accepted(b))
	if err != nil {
		b.Fatal(err)
	}
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
	for b.Loop() {
		if peer.NewOrigins().Of(p) == "" {
			b.Fatal("nothing is known of this process")
		}
	}
}
