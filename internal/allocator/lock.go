package allocator

// A keyLock is held by whoever has put its one token in. It is a channel, not
// a mutex: tests with a clock of their own can tell that its waiters wait.
type keyLock struct {
	token   chan struct{}
	waiters int
}

// Lock serialises what is done to one container, by its claim or by its own
// id; whoever needs both locks the id first. Call the result to unlock.
func (a *Allocator) Lock(key string) (unlock func()) {
	a.mu.Lock()
	l := a.locks[key]
	if l == nil {
		l = &keyLock{token: make(chan struct{}, 1)}
		a.locks[key] = l
	}
	l.waiters++
	a.mu.Unlock()
	l.token <- struct{}{}
	return func() {
		<-l.token
		a.mu.Lock()
		defer a.mu.Unlock()
		if l.waiters--; l.waiters == 0 {
			delete(a.locks, key)
		}
	}
}
