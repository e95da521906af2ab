package traffic_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

func muchGoesThrough(t *testing.T, l *lab.Lab, docker string) {
	data := make([]byte, 64<<20)
	seed := rand.NewChaCha8([32]byte{1})
	seed.Read(data)
	sum := sha256.Sum256(data)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	back := sha256.New()
	cmd := l.Command("alice", docker, "exec", "-i", "web", "cat")
	cmd.Stdin, cmd.Stdout = in, back
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(back.Sum(nil)); got != hex.EncodeToString(sum[:]) {
		t.Errorf("what came back has the sum %s, want %x", got, sum)
	}
}

// aKilledClientsStreamEnds kills clients in the middle of every kind of
// stream, none of which would end by itself.
func aKilledClientsStreamEnds(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-di", "--name", "web", "busybox", "sleep", "1000")
	const pooled = 32 // idle connections to the engine that the daemon keeps
	before := lab.Descriptors(t, l)
	var ends []func()
	for _, words := range [][]string{
		{"logs", "-f", "web"},
		{"attach", "web"},
		{"attach", "--no-stdin", "web"},
		{"exec", "-i", "web", "cat"},
		{"exec", "web", "sleep", "1000"},
		{"exec", "-i", "web", "sleep", "1000"},
		{"events"},
		{"stats", "web"},
		{"wait", "web"},
	} {
		for range 5 {
			_, end := lab.Background(t, l, "alice", append([]string{docker}, words...)...)
			ends = append(ends, end)
		}
	}
	l.Eventually("every stream is open", time.Minute, func() bool {
		return lab.Connections(t, l) >= len(ends) && lab.Descriptors(t, l) >= before+2*len(ends)
	})
	for _, end := range ends {
		end()
	}
	l.Eventually("the daemon has closed them all", 30*time.Second, func() bool {
		return lab.Connections(t, l) == 0 && lab.Descriptors(t, l) <= before+pooled
	})
}
