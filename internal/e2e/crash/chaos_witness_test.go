package crash_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A span is from one moment to another.
type span struct{ from, to time.Time }

// A sighting is what the kernel has shown of a container.
type sighting struct {
	inside lab.Inside // at first
	from   time.Time
	had    bool // a card
	lost   span // the card, while it ran: between two looks
	ended  span // between two looks
	again  bool // it was started again
}

func (s sighting) String() string {
	return fmt.Sprintf("it ran from %s, its card %v is lost since %s, it ended at %s, started again: %t", clock(s.from), s.inside.Cards, clock(s.lost.to), clock(s.ended.to), s.again)
}

// clock writes a moment, as the daemon's log does.
func clock(t time.Time) string {
	if t.IsZero() {
		return "no time"
	}
	return t.UTC().Format("15:04:05.000")
}

// A notice is a line on somebody's terminal.
type notice struct {
	who, text string
	at        span // between two looks
}

// Witnesses look all the while at what the kernel, the engine and people's
// terminals show, past ds01.
type witnesses struct {
	l   *lab.Lab
	log func(format string, args ...any)

	mu     sync.Mutex
	seen   map[string]*sighting // by the engine's id
	made   map[string]time.Time // when the engine made what it has, and has had
	leaves map[string]time.Time // when the engine had it no more
	told   []notice
	spans  map[string][]span // when something was ill, or not there
	faults []string          // what must not be
}

func watch(t *testing.T, l *lab.Lab, log func(string, ...any), people ...string) *witnesses {
	t.Helper()
	w := &witnesses{l: l, log: log, seen: map[string]*sighting{}, made: map[string]time.Time{}, leaves: map[string]time.Time{}, spans: map[string][]span{}}
	over := make(chan struct{})
	var eyes sync.WaitGroup
	regularly := func(look func()) {
		eyes.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(100 * time.Millisecond):
					look()
				}
			}
		})
	}
	screens := map[string]func() string{}
	for _, who := range people {
		screens[who] = lab.Screen(t, l, who)
	}
	read, last := map[string]int{}, time.Now()
	regularly(func() {
		began := time.Now()
		w.look(l.Insides(), last)
		w.read(screens, read, last)
		last = began
	})
	regularly(w.list)
	t.Cleanup(func() { close(over); eyes.Wait() })
	return w
}

// wrong notes what must not be.
func (w *witnesses) wrong(format string, args ...any) {
	w.log("WRONG: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// note keeps when something was so.
func (w *witnesses) note(what string, s span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spans[what] = append(w.spans[what], s)
}

// look takes note of what the kernel shows, and what is new since it began to look
// the last time.
func (w *witnesses) look(all map[string]lab.Inside, last time.Time) {
	between := span{last, time.Now()}
	for _, twice := range lab.SharedCards(all) {
		w.wrong("%s", twice)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, in := range all {
		s := w.seen[id]
		if s == nil {
			s = &sighting{inside: in, from: in.Began()}
			w.seen[id] = s
		}
		s.again = s.again || in.PID != s.inside.PID || in.Since != s.inside.Since
		s.had = s.had || len(in.Cards) > 0
		switch {
		case len(in.Cards) > 0:
			s.inside.Cards, s.lost = in.Cards, span{}
		case s.had && s.lost.to.IsZero():
			s.lost = between
		}
		s.ended = span{}
	}
	for id, s := range w.seen {
		if _, runs := all[id]; !runs && s.ended.to.IsZero() {
			s.ended = between
		}
	}
}

// read takes note of what is new on people's terminals since the last time.
func (w *witnesses) read(screens map[string]func() string, read map[string]int, last time.Time) {
	for who, screen := range screens {
		text := screen()
		at := span{last, time.Now()}
		end := strings.LastIndexByte(text, '\n') + 1
		for line := range strings.Lines(text[min(read[who], end):end]) {
			if line = strings.TrimSpace(line); line != "" {
				w.mu.Lock()
				w.told = append(w.told, notice{who, line, at})
				w.mu.Unlock()
			}
		}
		read[who] = end
	}
}

// list takes note of what the engine has, while it answers.
func (w *witnesses) list() {
	var rows []struct {
		ID      string `json:"Id"`
		Created int64  // in seconds
	}
	if w.l.AskEngine("GET", "/containers/json?all=1", &rows) != nil {
		return // it is what fails
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	has := map[string]bool{}
	for _, r := range rows {
		has[r.ID], w.made[r.ID] = true, time.Unix(r.Created, 0)
	}
	for id := range w.made {
		if _, known := w.leaves[id]; !known && !has[id] {
			w.leaves[id] = now
		}
	}
}

// sight returns what was seen of a container.
func (w *witnesses) sight(id string) sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.seen[id]; s != nil {
		return *s
	}
	return sighting{}
}

// slot returns the card that a container has now, "" if none.
func (w *witnesses) slot(id string) string {
	if s := w.sight(id); s.had && s.lost.to.IsZero() && s.ended.to.IsZero() {
		return s.inside.Cards[0]
	}
	return ""
}

// since returns when a container was made at the earliest, by the engine's clock,
// which shows it in seconds, and by who asked for it.
func (w *witnesses) since(a *actor) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if made := w.made[a.id]; made.After(a.asked) {
		return made
	}
	return a.asked
}

// gone reports whether the engine had a container and has it no more.
func (w *witnesses) gone(id string) bool { return !w.left(id).IsZero() }

func (w *witnesses) left(id string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaves[id]
}

// notices returns what somebody was told of a container that says so.
func (w *witnesses) notices(a *actor, says string) []notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []notice
	for _, n := range w.told {
		if n.who == a.who && strings.Contains(n.text, "our container "+a.name+" ") && strings.Contains(n.text, says) {
			all = append(all, n)
		}
	}
	return all
}
