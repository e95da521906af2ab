package mount

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Waits is who waits for file systems. One may never answer: its server is
// gone, or the program behind it stands still. A thread that has asked can't be
// called back, so whoever wants the answer gives up after a while, and of those
// that went on waiting there are only few for one person. The zero value is
// ready; it is safe for concurrent use.
type Waits struct {
	Patience time.Duration // how long an answer may take; 0: five seconds

	mu    sync.Mutex
	lines map[string]*line // by whom or what they are for: as many as there are people and roots
}

// A line is those who wait on behalf of one person, or for one root.
type line struct {
	threads chan struct{} // as many as wait
	given   int           // how many of them nobody waits for any more
}

const (
	patience   = 5 * time.Second
	maxThreads = 32 // of one line at the same time; others wait for their turn
	maxGivenUp = 4  // with so many given up, nobody else is made to wait
)

// ask calls do, and returns what it returns. It reports false when there is no
// answer in time; late gets what do returns afterwards.
func ask[T any](w *Waits, name string, do func() T, late func(T)) (answer T, answered bool) {
	if w == nil {
		w = new(Waits)
	}
	l, hopeful := w.line(name)
	if !hopeful {
		return answer, false
	}
	timeout := time.NewTimer(w.patience())
	defer timeout.Stop()
	select {
	case l.threads <- struct{}{}:
	case <-timeout.C:
		return answer, false
	}
	answers := make(chan T, 1)
	go func() {
		answers <- do()
		<-l.threads
	}()
	select {
	case answer = <-answers:
		return answer, true
	case <-timeout.C:
	}
	w.count(l, 1)
	go func() {
		late(<-answers)
		w.count(l, -1)
	}()
	return answer, false
}

func (w *Waits) patience() time.Duration {
	if w.Patience == 0 {
		return patience
	}
	return w.Patience
}

// line returns the line of this name, and whether there is hope of an answer.
func (w *Waits) line(name string) (l *line, hopeful bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lines == nil {
		w.lines = map[string]*line{}
	}
	if l = w.lines[name]; l == nil {
		l = &line{threads: make(chan struct{}, maxThreads)}
		w.lines[name] = l
	}
	return l, l.given < maxGivenUp
}

func (w *Waits) count(l *line, given int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.given += given
}

// Settle returns an allowed root's path with its links resolved, as far as
// only the host's own root can have made or moved them; others are an error.
func (w *Waits) Settle(root string) (string, error) {
	type settled struct {
		path string
		err  error
	}
	got, answered := ask(w, "root "+root, func() (s settled) {
		s.path, s.err = settle(root)
		return s
	}, func(settled) {})
	if !answered {
		return "", unix.ETIMEDOUT
	}
	return got.path, got.err
}
