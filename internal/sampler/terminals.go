package sampler

import (
	"sync"
	"sync/atomic"
)

// Terminals knows at which terminals in containers somebody typed. The zero value
// knows of none. It is safe for concurrent use.
type Terminals struct {
	mu   sync.Mutex
	used map[string]*used // by the engine's id of the container
}

// used are the terminals of one container.
type used struct {
	open   map[*Terminal]bool
	closed int // that were typed at since the last look, and are gone
}

// A Terminal is one at which a person sits.
type Terminal struct {
	of        *Terminals
	container string
	typed     atomic.Bool
}

// Open tells of a terminal in a container, by the engine's id.
func (t *Terminals) Open(container string) *Terminal {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used == nil {
		t.used = map[string]*used{}
	}
	if t.used[container] == nil {
		t.used[container] = &used{open: map[*Terminal]bool{}}
	}
	terminal := &Terminal{of: t, container: container}
	t.used[container].open[terminal] = true
	return terminal
}

// Typed tells that something came from the person.
func (t *Terminal) Typed() { t.typed.Store(true) }

// Close tells that the terminal is gone.
func (t *Terminal) Close() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	u := t.of.used[t.container]
	delete(u.open, t)
	if t.typed.Load() {
		u.closed++
	}
}

// Take returns at how many terminals of each container somebody typed since it was
// called before.
func (t *Terminals) Take() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]int{}
	for container, u := range t.used {
		n := u.closed
		u.closed = 0
		for terminal := range u.open {
			if terminal.typed.Swap(false) {
				n++
			}
		}
		all[container] = n
		if len(u.open) == 0 {
			delete(t.used, container)
		}
	}
	return all
}
