package traffic_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// growth is how much memory the daemon may need for streams of any length.
const growth = 32 << 20

// much is how many bytes go through a stream.
func much() int64 {
	if lab.Long() {
		return 2 << 30
	}
	return 128 << 20
}

// A source gives n bytes that are the same each time, and sums them up.
func source(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), n), sum), sum
}

// TestLargeStreams is that streams come through whole, and pass through the
// daemon without piling up in it.
func TestLargeStreams(t *testing.T) {
	l := start(t, lab.Options{Admins: []string{"dean"}})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"through a command and back":      throughACommand,
		"through attached input and back": throughAttach,
		"of what a container has said":    ofALog,
	} {
		t.Run(name, func(t *testing.T) {
			defer l.ClearAll()
			before := l.Resident()
			story(t, l)
			if peak := l.Peak(); peak > before+growth {
				t.Errorf("the daemon had %d MiB and came to %d MiB", before>>20, peak>>20)
			}
		})
	}
}

func throughACommand(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "100000")
	thereAndBack(t, l, "docker", "exec", "-i", "web", "cat")
}

func throughAttach(t *testing.T, l *lab.Lab) {
	// Attached output is logged too, unless it isn't: the disk is not what is tried here.
	thereAndBack(t, l, "docker", "run", "-i", "--rm", "--log-driver", "none", "busybox", "cat")
}

func thereAndBack(t *testing.T, l *lab.Lab, words ...string) {
	t.Helper()
	in, sent := source(much())
	back := sha256.New()
	cmd := l.Command("alice", words...)
	cmd.Stdin, cmd.Stdout = in, back
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if want, got := fmt.Sprintf("%x", sent.Sum(nil)), fmt.Sprintf("%x", back.Sum(nil)); got != want {
		t.Errorf("what came back has the sum %s, want %s", got, want)
	}
}

// ofALog reads a long log. ds01 keeps those of its own containers short, so
// this is one that was made before and adopted.
func ofALog(t *testing.T, l *lab.Lab) {
	const width = 8 << 10 // the engine takes longer for short ones
	lines := much() / width
	line := strings.Repeat("x", width-1)
	l.AtEngine("run", "-d", "--name", "talker", "busybox", "sh", "-c", fmt.Sprintf("yes %s | head -n %d", line, lines))
	l.AtEngine("wait", "talker")
	if r := l.DS01("dean", "container", "adopt", "talker", "--user", l.Login("alice")); r.Code != 0 {
		t.Fatal(r.Err)
	}
	want, got := sha256.New(), sha256.New()
	for range lines {
		io.WriteString(want, line+"\n")
	}
	cmd := l.Command("alice", "docker", "logs", "talker")
	cmd.Stdout = got
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%x", got.Sum(nil)) != fmt.Sprintf("%x", want.Sum(nil)) {
		t.Error("the log is not what the container said")
	}
}

// Streams end when what is behind them does, and nothing of them is left.
func TestStreamsEndWithTheEngineAndWithTheDaemon(t *testing.T) {
	l := start(t, lab.Options{})
	const pooled = 32 // idle connections to the engine that the daemon keeps
	l.OK("alice", "docker", "run", "-di", "--name", "web", "busybox", "sleep", "1000")
	for _, c := range []struct {
		name string
		kill func() error
	}{
		{"the engine is killed", l.Engine.Kill},
		{"the daemon is killed", func() error { l.EndDaemon(syscall.SIGKILL); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := lab.Descriptors(t, l)
			over := make(chan string)
			kinds := [][]string{{"logs", "-f", "web"}, {"attach", "web"}, {"exec", "-i", "web", "cat"}, {"exec", "web", "sleep", "1000"}, {"wait", "web"}}
			for _, words := range kinds {
				in, typed, err := os.Pipe() // who attaches stays
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { in.Close(); typed.Close() })
				cmd := l.Command("alice", append([]string{"docker"}, words...)...)
				cmd.Stdin = in
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { cmd.Wait(); over <- words[0] }()
			}
			l.Eventually("every stream is open", 20*time.Second, func() bool { return lab.Connections(t, l) >= len(kinds) })
			if err := c.kill(); err != nil {
				t.Fatal(err)
			}
			for range kinds {
				select {
				case <-over:
				case <-time.After(20 * time.Second):
					t.Fatal("a client waits for what won't come")
				}
			}
			if strings.Contains(c.name, "daemon") {
				l.StartDaemon()
			} else if err := l.Engine.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.Eventually("the daemon has closed them all", 10*time.Second, func() bool {
				return lab.Connections(t, l) == 0 && lab.Descriptors(t, l) <= before+pooled
			})
		})
	}
}
