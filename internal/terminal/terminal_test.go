package terminal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/terminal"
)

// open makes a pseudo-terminal and returns its two ends.
func open(t *testing.T, mode os.FileMode) (person *os.File, path string) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("%s/%d", terminal.Folder, n)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return person, path
}

// read returns what a terminal shows, up to a text, or without one within a
// moment.
func read(t *testing.T, f *os.File, until string) string {
	t.Helper()
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	patience := 50 * time.Millisecond
	if until != "" {
		patience = 20 * time.Second
	}
	var all []byte
	some := make([]byte, 4096)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, err := unix.Read(fd, some); err == nil {
			all = append(all, some[:n]...)
		}
		if until != "" && strings.Contains(string(all), until) {
			break
		}
	}
	return string(all)
}

func TestTheirTerminalsAreTold(t *testing.T) {
	first, path := open(t, 0o620)
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // else nothing is read from the other end
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	closed, closedPath := open(t, 0o600)
	other, err := os.OpenFile(closedPath, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	told, err := terminal.Tell(terminal.Folder, os.Getuid(), "yours now\x1b[2J\x07\n: 1.0")
	if err != nil || told < 1 {
		t.Fatalf("told %d, %v", told, err)
	}
	if got := read(t, first, ": 1.0\r\r\n"); !strings.Contains(got, "yours now[2J: 1.0") || strings.ContainsAny(got, "\x1b\x07") {
		t.Errorf("it shows %q", got)
	}
	if got := read(t, closed, ""); got != "" {
		t.Errorf("one that takes no messages shows %q", got)
	}
	if told, _ := terminal.Tell(terminal.Folder, 4242, "not theirs"); told != 0 {
		t.Errorf("%d terminals of nobody", told)
	}
	if got := read(t, first, ""); got != "" {
		t.Errorf("another's terminal shows %q", got)
	}
}

func TestOnlyTerminalsAreWrittenTo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o620); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	_, path := open(t, 0o620)
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o620); err != nil {
		t.Fatal(err)
	}
	if told, err := terminal.Tell(dir, os.Getuid(), "x"); told != 0 || err != nil {
		t.Errorf("told %d, %v", told, err)
	}
	if data, _ := os.ReadFile(file); len(data) > 0 {
		t.Errorf("a file was written to: %q", data)
	}
	if _, err := terminal.Tell(filepath.Join(dir, "none"), 0, "x"); err == nil {
		t.Error("no folder is no error")
	}
}
