package gateway

import "sync"

// execs remembers in which container the last commands were prepared, so that
// their start needn't ask the engine. It is safe for concurrent use.
type execs struct {
	mu    sync.Mutex
	known map[string]prepared // by exec id
	order []string            // exec ids, oldest first
}

// prepared is a command that is to run in a container.
type prepared struct {
	container string // by the engine's id
	terminal  bool   // it gets one
}

// remembered is how many commands execs remembers.
const remembered = 1024

func newExecs() *execs { return &execs{known: map[string]prepared{}} }

func (e *execs) put(exec string, p prepared) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.order) == remembered {
		delete(e.known, e.order[0])
		e.order = append(e.order[:0], e.order[1:]...)
	}
	e.known[exec] = p
	e.order = append(e.order, exec)
}

// of returns a command; ok is false for one that is forgotten or was prepared
// elsewhere.
func (e *execs) of(exec string) (p prepared, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok = e.known[exec]
	return p, ok
}
