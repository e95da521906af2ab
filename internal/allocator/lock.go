package allocator

import (
	"sync"
)

type keyLock struct {
	sync.Mutex
	waiters int
}

// Lock serialises what is done to one container; call the result to unlock.
func (a *Allocator) Lock(claim string) (unlock func()) {
	a.mu.Lock()
	l := a.locks[claim]
	if l == nil {
		l = &keyLock{}
		a.locks[claim] = l
	}
	l.waiters++
	a.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		if l.waiters--; l.waiters == 0 {
			delete(a.locks, claim)
		}
	}
}
