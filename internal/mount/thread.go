package mount

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// as runs f with the owner's file system rights, on a thread that is thrown
// away after it: a goroutine that ends locked ends its thread. The rest of the
// process keeps its own rights.
func as(o Owner, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread can't be thrown away. Held here, it
			// can't be the one that the next goroutine gets.
			defer runtime.UnlockOSThread()
			done <- as(o, f)
			return
		}
		if err := become(o); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// become gives this thread, and no other, the owner's file system rights, and
// takes every capability away, also from root: those that override file modes
// above all. The calls of package syscall would change every thread.
func become(o Owner) error {
	if err := unix.Setgroups(o.Groups); err != nil {
		return fmt.Errorf("take on groups: %w", err)
	}
	for _, id := range []struct {
		set func(int) (int, error)
		to  int
	}{{unix.SetfsgidRetGid, o.GID}, {unix.SetfsuidRetUid, o.UID}} {
		// The call returns the id before and no error; only a second one tells whether it worked.
		if _, err := id.set(id.to); err != nil {
			return fmt.Errorf("take on id %d: %w", id.to, err)
		}
		if now, err := id.set(id.to); err != nil || now != id.to {
			return fmt.Errorf("take on id %d: the kernel refuses", id.to)
		}
	}
	none := make([]unix.CapUserData, 2) // the third version of the call takes two
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("lay down capabilities: %w", err)
	}
	return nil
}
