package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"ds01.dev/ds01/internal/event"
)

// open opens the newest file and takes the chain up where it ended. A line
// that a crash has cut off is set aside, and the log says so.
func (l *Log) open() error {
	file, err := openFile(l.path)
	if err != nil {
		return err
	}
	last, torn, err := l.takeUp(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.last = file, last
	if torn == "" {
		return nil
	}
	return l.append(event.Event{Time: l.now(), Door: event.Daemon, Decision: event.Allowed, Action: "audit repair", User: daemonUser, Why: torn})
}

// takeUp returns the last link of the chain, and what it had to set aside.
func (l *Log) takeUp(file *os.File) (last event.Link, torn string, err error) {
	end, err := readEnd(file)
	if err != nil {
		return last, "", err
	}
	cut := bytes.LastIndexByte(end, '\n') + 1
	if rest := end[cut:]; len(rest) > 0 {
		if _, err := event.Parse(rest); err == nil { // only its line break is missing
			if _, err := file.WriteString("\n"); err != nil {
				return last, "", fmt.Errorf("end the audit log's last line: %w", err)
			}
			end, cut = append(end, '\n'), len(end)+1
		} else if torn, err = l.setAside(file, rest); err != nil {
			return last, "", err
		}
	}
	if last, ok := lastLink(end[:cut]); ok {
		return last, torn, nil
	}
	// An empty file: the one before was moved aside.
	older, err := Files(l.path)
	if err != nil {
		return last, "", err
	}
	for _, path := range slices.Backward(older) {
		link, ok, err := lastOf(path)
		if err != nil || ok {
			return link, torn, err
		}
	}
	return last, torn, nil
}

// readEnd returns the last lines of a file: those that can hold the last good
// one.
func readEnd(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the audit log's end: %w", err)
	}
	size := min(info.Size(), 4*event.MaxLine)
	end := make([]byte, size)
	if _, err := file.ReadAt(end, info.Size()-size); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the audit log's end: %w", err)
	}
	return end, nil
}

// lastLink returns the place of the last line that is whole.
func lastLink(text []byte) (event.Link, bool) {
	for _, line := range slices.Backward(bytes.Split(text, []byte("\n"))) {
		if e, err := event.Parse(line); err == nil {
			return e.Link(), true
		}
	}
	return event.Link{}, false
}

// setAside moves a line that was cut off into a file of its own.
func (l *Log) setAside(file *os.File, rest []byte) (said string, err error) {
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("set a torn line aside: %w", err)
	}
	name := filepath.Join(filepath.Dir(l.path), "torn-"+l.now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.WriteFile(name, rest, 0o600); err != nil {
		return "", fmt.Errorf("set a torn line aside: %w", err)
	}
	if err := file.Truncate(info.Size() - int64(len(rest))); err != nil {
		return "", fmt.Errorf("set a torn line aside: %w", err)
	}
	l.log.Warn("audit log's last line was torn and is set aside", "path", l.path, "bytes", len(rest), "file", name)
	return fmt.Sprintf("the last line was cut off, as a crash leaves it: its %d bytes are in %s", len(rest), filepath.Base(name)), nil
}
