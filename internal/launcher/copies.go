package launcher

import (
	"context"
	"slices"
	"sync"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// copies knows who reads and writes files of which container.
type copies struct {
	mu      sync.Mutex
	ongoing map[string]*ongoing // by claim
}

// ongoing is the copies of one container.
type ongoing struct {
	ready   ready
	made    int
	cancels map[int]context.CancelFunc
	over    chan struct{} // closed with the last of them
}

// join adds a copy to those of a container that is ready for them.
func (c *copies) join(claim string, cancel context.CancelFunc) (number int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.ongoing[claim]
	if o == nil {
		return 0, false
	}
	return o.add(cancel), true
}

// begin notes the first copy of a container, which is ready now.
func (c *copies) begin(claim string, r ready, cancel context.CancelFunc) (number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ongoing == nil {
		c.ongoing = map[string]*ongoing{}
	}
	o := &ongoing{ready: r, cancels: map[int]context.CancelFunc{}, over: make(chan struct{})}
	c.ongoing[claim] = o
	return o.add(cancel)
}

func (o *ongoing) add(cancel context.CancelFunc) (number int) {
	o.made++
	o.cancels[o.made] = cancel
	return o.made
}

// end takes a copy away, and with the last one lets the container go.
func (c *copies) end(claim string, number int, letGo func(ready)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.ongoing[claim]
	delete(o.cancels, number)
	if len(o.cancels) > 0 {
		return
	}
	letGo(o.ready)
	delete(c.ongoing, claim)
	close(o.over)
}

func (c *copies) busy(claim string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ongoing[claim] != nil
}

// refuseWhileCopying keeps a container as it is while its files are copied.
func refuseWhileCopying(what, claim string, kinds ...*copies) error {
	if !slices.ContainsFunc(kinds, func(c *copies) bool { return c.busy(claim) }) {
		return nil
	}
	return &problem.Error{
		What: what, Why: problem.Because(problem.ErrConflict, "its files are being copied"),
		Next: "Try again when 'docker cp' is done.",
	}
}

// AwaitCopies waits until a container stands still for no copy of its files,
// and reports whether that came true in time.
func (l *Launcher) AwaitCopies(ctx context.Context, claim string, patience time.Duration) bool {
	l.copies.mu.Lock()
	o := l.copies.ongoing[claim]
	l.copies.mu.Unlock()
	if o == nil {
		return true
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-o.over:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}

// EndCopies breaks off what copies files of a container: somebody needs it to
// end now.
func (l *Launcher) EndCopies(claim string) {
	for _, c := range []*copies{&l.copies, &l.holds} {
		c.cancel(claim)
	}
}

func (c *copies) cancel(claim string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.ongoing[claim]; o != nil {
		for _, cancel := range o.cancels {
			cancel()
		}
	}
}
