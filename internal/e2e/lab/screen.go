package lab

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/terminal"
)

// Screen opens a pseudo-terminal of a person's on the host, and returns what it
// shows.
func Screen(t *testing.T, l *Lab, who string) func() string {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	path := fmt.Sprintf("%s/%d", terminal.Folder, number)
	for _, do := range []func() error{func() error { return os.Chown(path, l.UID(who), -1) }, func() error { return os.Chmod(path, 0o620) }} {
		if err == nil {
			err = do()
		}
	}
	session, errOpen := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil || errOpen != nil {
		t.Fatal(err, errOpen)
	}
	var mu sync.Mutex
	var shown strings.Builder
	over := make(chan struct{})
	go func() {
		defer close(over)
		for text := make([]byte, 4096); ; {
			n, err := screen.Read(text)
			if err != nil {
				return // its last session is gone
			}
			mu.Lock()
			shown.Write(text[:n])
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = session.Close()
		<-over
		_ = screen.Close()
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return shown.String()
	}
}
