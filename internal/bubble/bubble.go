// Package bubble runs tests in bubbles of testing/synctest, whose time is made
// up.
package bubble

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Test runs f as synctest.Test does, on one processor: timers of one bubble that
// fire on two at once crash the race detector (golang/go#78156). Tests that call
// it aren't parallel.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}

// Wait is synctest.Wait.
func Wait() { synctest.Wait() }
