package redteam

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A Person is an account that asks, or is attacked.
type Person struct {
	UID, GID int
	Groups   []int
	Login    string
	Home     string // "" where nothing may be made in it
}

// as runs f with the person's rights, on a thread that is thrown away after
// it: the kernel tells a socket's other end who the thread is. The rest of
// the process keeps its rights. Without root the person has to be the caller.
func (p Person) as(f func() error) error {
	if p.UID == os.Geteuid() {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread can't be thrown away. Held here, it
			// can't be the one that the next goroutine gets.
			defer runtime.UnlockOSThread()
			done <- p.as(f)
			return
		}
		if err := p.become(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// become changes this thread only, as the raw calls do.
func (p Person) become() error {
	if err := unix.Setgroups(p.Groups); err != nil {
		return fmt.Errorf("take on the groups of %s: %w", p.Login, err)
	}
	gid, uid := uintptr(p.GID), uintptr(p.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("take on the group of %s: %w", p.Login, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("take on the account of %s: %w", p.Login, errno)
	}
	return nil
}

// Dial connects to a socket as the person.
func (p Person) Dial(ctx context.Context, socket string) (conn *net.UnixConn, err error) {
	err = p.as(func() error {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		conn, _ = c.(*net.UnixConn)
		return nil
	})
	return conn, err
}
