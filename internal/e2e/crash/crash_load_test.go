package crash_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A load is people who make, start, stop and remove containers all the time,
// one command after the other each.
type load struct {
	t    *testing.T
	l    *lab.Lab
	seed uint64

	gate    sync.RWMutex  // held by who disturbs, in order to look
	end     chan struct{} // closed to end it
	workers sync.WaitGroup

	mu    sync.Mutex
	done  map[string]int // what went well, by verb
	since int            // how much of it since the gate was opened
	odd   []string       // answers that nobody should get
}

// seedOf returns the seed of a test's dice, and says it: DS01_TEST_SEED sets
// it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("DS01_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("DS01_TEST_SEED=%d", seed)
	return seed
}

// startLoad lets every person work until stop.
func startLoad(t *testing.T, l *lab.Lab, seed uint64, people ...string) *load {
	t.Helper()
	w := &load{t: t, l: l, seed: seed, end: make(chan struct{}), done: map[string]int{}}
	for i, who := range people {
		if err := os.MkdirAll(filepath.Join(l.Home(who), "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chown(filepath.Join(l.Home(who), "work"), l.UID(who), l.UID(who))
		w.workers.Go(func() { w.work(who, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	t.Cleanup(w.stop)
	return w
}

func (w *load) work(who string, dice *rand.Rand) {
	for {
		select {
		case <-w.end:
			return
		default:
		}
		words := w.command(who, dice)
		w.gate.RLock()
		w.run(who, words)
		w.gate.RUnlock()
	}
}

// run runs one command. A client that waits for ever is ended; with --rm that
// may be, when both the start and the removal that follows were lost.
func (w *load) run(who string, words []string) {
	r := w.l.Run(who, append([]string{"timeout", "-s", "KILL", "25", "docker"}, words...)...)
	if r.Code == 137 {
		w.t.Logf("gave up on docker %v: %s", words, r.Err)
	}
	if r.Code == 137 && !slices.Contains(words, "--rm") {
		r.Err += "panic: it waited for ever"
	}
	w.note(words, r)
}

// command rolls the next command of a person with four names.
func (w *load) command(who string, dice *rand.Rand) []string {
	name := fmt.Sprintf("c%d", dice.IntN(4))
	switch roll := dice.IntN(10); {
	case roll < 5:
		words := []string{"run", "-d", "--name", name}
		if dice.IntN(3) > 0 {
			words = append(words, "--gpus", "1")
		}
		if dice.IntN(2) > 0 {
			words = append(words, "-v", filepath.Join(w.l.Home(who), "work")+":/work")
		}
		if dice.IntN(3) == 0 {
			words = append(words, "--rm")
		}
		return append(words, "busybox", "sleep", strconv.Itoa(1+1000*dice.IntN(2)))
	case roll < 6:
		return []string{"stop", "-t", "0", name}
	case roll < 8:
		return []string{"start", name}
	default:
		return []string{"rm", "-f", name}
	}
}

// note counts what went well and keeps what nobody should be told.
func (w *load) note(words []string, r lab.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Code == 0 {
		w.done[words[0]]++
		w.since++
		return
	}
	for _, word := range []string{"constraint failed", "panic", "SQLITE", "runtime error", "Internal Server Error"} {
		if strings.Contains(r.Err, word) {
			w.odd = append(w.odd, fmt.Sprintf("docker %v: %s", words, r.Err))
		}
	}
}

// during waits for the commands under way and keeps new ones back until look
// has returned.
func (w *load) during(look func()) {
	w.gate.Lock()
	defer w.gate.Unlock()
	look()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = 0
}

// underWay waits until a run has ever gone well, and anything since the gate was
// opened: a load that is always disturbed sooner is none.
func (w *load) underWay() {
	w.t.Helper()
	w.l.Eventually("the load is under way", time.Minute, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.done["run"] > 0 && w.since > 0
	})
}

// fewCommands are so few that one kind of them may not be among what went well: on
// a machine that is busy otherwise, and an engine that is away half of the time.
const fewCommands = 40

// stop ends the load and says what it did.
func (w *load) stop() {
	select {
	case <-w.end:
		return
	default:
		close(w.end)
	}
	w.workers.Wait()
	w.t.Logf("commands that went well: %v", w.done)
	for _, odd := range w.odd {
		w.t.Errorf("an answer nobody should get: %s", odd)
	}
	total := 0
	for _, n := range w.done {
		total += n
	}
	for _, verb := range []string{"run", "start", "rm"} {
		if w.done[verb] == 0 && (verb == "run" || total > fewCommands) {
			w.t.Errorf("no %s ever went well: the load was none", verb)
		}
	}
}
