package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/client/clienttest"
)

// A screen is a terminal with a person in front of it: the program has one
// side, the test types and reads at the other.
type screen struct {
	person   *os.File
	terminal *os.File

	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	person, terminal, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{person: person, terminal: terminal, changed: make(chan struct{}, 1)}
	s.resize(t, 24, 80)
	read := make(chan struct{})
	go func() { defer close(read); s.read() }()
	t.Cleanup(func() {
		terminal.Close()
		person.Close()
		<-read
	})
	return s
}

func openTerminal() (person, terminal *os.File, err error) {
	// Non-blocking, so that Close ends a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	person = os.NewFile(uintptr(fd), "ptmx")
	number, errNumber := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	errLock := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	if err := errors.Join(errNumber, errLock); err != nil {
		return nil, nil, err
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return person, terminal, err
}

func (s *screen) read() {
	chunk := make([]byte, 4096)
	for {
		n, err := s.person.Read(chunk)
		s.mu.Lock()
		s.text.Write(chunk[:n])
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (s *screen) resize(t *testing.T, rows, columns uint16) {
	t.Helper()
	size := &unix.Winsize{Row: rows, Col: columns}
	if err := unix.IoctlSetWinsize(int(s.terminal.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
}

// typing types text once the screen shows a prompt, and forgets what it
// showed until then.
func (s *screen) typing(t *testing.T, prompt, text string) {
	t.Helper()
	s.shows(t, prompt)
	if _, err := s.person.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// shows waits until the screen shows a text and returns everything up to it.
func (s *screen) shows(t *testing.T, want string) string {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		before, after, found := strings.Cut(s.text.String(), want)
		if found {
			s.text.Reset()
			s.text.WriteString(after)
		}
		s.mu.Unlock()
		if found {
			return before + want
		}
		select {
		case <-s.changed:
		case <-late:
			t.Fatalf("the screen never shows %q, but %q", want, before)
		}
	}
}

// settings are those of the terminal that raw mode changes.
func (s *screen) settings(t *testing.T) unix.Termios {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *settings
}

// begin starts a command line on the screen; the function it returns waits
// for the exit code.
func (s *screen) begin(ctx context.Context, t *testing.T, f *clienttest.Fake, environment map[string]string, args ...string) func() int {
	t.Helper()
	host := clienttest.Start(t, f)
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, args, cli.Streams{In: s.terminal, Out: s.terminal, Err: s.terminal}, func(name string) string {
			if name == "DS01_HOST" {
				return host
			}
			return environment[name]
		}, entry())
	}()
	return func() int {
		t.Helper()
		select {
		case code := <-ended:
			return code
		case <-time.After(20 * time.Second):
			t.Fatal("the command never ends")
			return -1
		}
	}
}
