package gateway

import "sync"

// execs remembers in which container the last commands were prepared, so that
// their start needn't ask the engine. It is safe for concurrent use.
type execs struct {
	mu        sync.Mutex
	container map[string]string // by exec id
	order     []string          // exec ids, oldest first
}

// remembered is how many commands execs remembers.
const remembered = 1024

func newExecs() *execs { return &execs{container: map[string]string{}} }

func (e *execs) put(exec, container string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.order) == remembered {
		delete(e.container, e.order[0])
		e.order = append(e.order[:0], e.order[1:]...)
	}
	e.container[exec] = container
	e.order = append(e.order, exec)
}

// of returns the container of a command; ok is false for one that is
// forgotten or was prepared elsewhere.
func (e *execs) of(exec string) (container string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	container, ok = e.container[exec]
	return container, ok
}
