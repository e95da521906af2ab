package bubble_test

import (
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
)

// Without the one processor the race detector ends the whole program here.
func TestTimersOfManyFireAtOnce(t *testing.T) {
	bubble.Test(t, func(*testing.T) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 20000 {
					<-time.After(0)
				}
			})
		}
		bubble.Wait()
		all.Wait()
	})
}
