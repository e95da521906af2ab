package inventory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// patience is how long a driver may take for one answer. A card that is ill can
// keep a call for ever, and no call can be broken off.
const patience = 10 * time.Second

// A line is where those stand who ask a driver for one thing: one asks at a
// time, and nobody while an answer is overdue.
type line struct {
	mu      sync.Mutex
	overdue atomic.Bool
}

// ask returns what the driver answers. One that doesn't in time, or whose last
// answer is overdue, is of kind problem.ErrUnavailable.
func ask[T any](ctx context.Context, l *line, do func(context.Context) (T, error)) (answer T, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.overdue.Load() {
		return answer, silent()
	}
	answered := make(chan struct{})
	var given T
	var failed error
	go func() {
		given, failed = do(ctx)
		close(answered)
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-answered:
		return given, failed
	case <-late.C:
	}
	l.overdue.Store(true)
	go func() {
		<-answered
		l.overdue.Store(false)
	}()
	return answer, silent()
}

func silent() error {
	return problem.Because(problem.ErrUnavailable, fmt.Sprintf("the GPU driver has not answered for %s", patience))
}
