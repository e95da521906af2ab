package allocator

import "context"

// A keyLock is held by whoever has put its one token in. It is a channel, not
// a mutex: tests with a clock of their own can tell that its waiters wait.
type keyLock struct {
	token   chan struct{}
	waiters int
}

// Lock serialises what is done to one container, by its claim or by its own
// id; whoever needs both locks the id first. Call the result to unlock.
func (a *Allocator) Lock(key string) (unlock func()) {
	l := a.join(key)
	l.token <- struct{}{}
	return func() { <-l.token; a.leave(key, l) }
}

// LockContext is Lock for who waits no longer than ctx lasts, and has the error
// of the context then.
func (a *Allocator) LockContext(ctx context.Context, key string) (unlock func(), err error) {
	l := a.join(key)
	select {
	case l.token <- struct{}{}:
		return func() { <-l.token; a.leave(key, l) }, nil
	case <-ctx.Done():
		a.leave(key, l)
		return nil, ctx.Err()
	}
}

func (a *Allocator) join(key string) *keyLock {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.locks[key]
	if l == nil {
		l = &keyLock{token: make(chan struct{}, 1)}
		a.locks[key] = l
	}
	l.waiters++
	return l
}

func (a *Allocator) leave(key string, l *keyLock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.waiters--; l.waiters == 0 {
		delete(a.locks, key)
	}
}
