package audit

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/event"
)

// maxTries is how often files are read anew that were moved aside meanwhile.
const maxTries = 10

// Files returns the files of the log at path, oldest first: the newest and
// whatever lies beside it under its name with something behind, as rotation
// leaves it, compressed or not. Empty ones are left out.
func Files(path string) ([]string, error) {
	for tries := 1; ; tries++ {
		found, err := listed(path)
		if err != nil {
			return nil, err
		}
		order, err := InOrder(found)
		if !errors.Is(err, fs.ErrNotExist) || tries == maxTries { // it was moved aside meanwhile
			return order, err
		}
	}
}

// Unmoved calls read with the files that list returns, in their order, until none
// was moved aside meanwhile: its lines would be missed, or read twice. A log that
// is never still gets what the tenth try brings.
func Unmoved(list func() ([]string, error), read func(files []string) error) error {
	for tries := 1; ; tries++ {
		files, err := list()
		before := look(files)
		if err == nil {
			err = read(files)
		}
		after, errList := list()
		if errList != nil && !errors.Is(errList, fs.ErrNotExist) {
			return errList
		}
		still := errList == nil && slices.Equal(files, after) && slices.EqualFunc(before, look(after), os.SameFile)
		if still || tries == maxTries {
			return err
		}
	}
}

// look returns which files have these names now; nil for one that isn't there.
func look(paths []string) []os.FileInfo {
	found := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		found[i], _ = os.Lstat(path) // it was moved aside
	}
	return found
}

func listed(path string) (found []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list the audit log's files: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)) && e.Type().IsRegular() {
			found = append(found, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return found, nil
}

// InOrder returns log files by the number of their first event. A file that
// begins with none goes last, so that it is looked at; an empty one is left
// out.
func InOrder(paths []string) ([]string, error) {
	type place struct {
		path  string
		first uint64
	}
	var places []place
	for _, path := range paths {
		line, err := firstLine(path)
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			continue
		}
		p := place{path, 1<<64 - 1}
		if e, err := event.Parse(line); err == nil {
			p.first = e.Seq
		}
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.first, b.first), strings.Compare(a.path, b.path)) })
	ordered := make([]string, len(places))
	for i, p := range places {
		ordered[i] = p.path
	}
	return ordered, nil
}

func firstLine(path string) (line []byte, err error) {
	err = eachLine(path, func(l event.Line) bool {
		line = slices.Clone(l.Text)
		return false
	})
	return line, err
}

// lastOf returns the place of a file's last whole line.
func lastOf(path string) (last event.Link, ok bool, err error) {
	err = eachLine(path, func(l event.Line) bool {
		if e, err := event.Parse(l.Text); err == nil {
			last, ok = e.Link(), true
		}
		return true
	})
	return last, ok, err
}

// Lines returns the lines of log files in the order given. What goes wrong
// while reading ends the lines and is left in *failed.
func Lines(paths []string, failed *error) iter.Seq[event.Line] {
	return func(yield func(event.Line) bool) {
		more := true
		for _, path := range paths {
			if err := eachLine(path, func(l event.Line) bool { more = yield(l); return more }); err != nil {
				*failed = err
				return
			}
			if !more {
				return
			}
		}
	}
}

// eachLine reads a file, which may be compressed, until visit says no.
func eachLine(path string, visit func(event.Line) bool) error {
	file, err := os.Open(path) //nolint:gosec // the reader names the files
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only
	reader, err := plain(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for n := 1; ; n++ {
		text, err := readLine(reader)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s, line %d: %w", path, n, err)
		}
		if len(text) == 0 && err != nil {
			return nil
		}
		if !visit(event.Line{File: path, Number: n, Text: text, Torn: err != nil}) || err != nil {
			return nil
		}
	}
}

// plain reads what gzip has compressed, too.
func plain(file io.Reader) (*bufio.Reader, error) {
	reader := bufio.NewReaderSize(file, 64<<10)
	if magic, err := reader.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return reader, nil //nolint:nilerr // a file of less than two bytes isn't compressed
	}
	unzipped, err := gzip.NewReader(reader)
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(unzipped, 64<<10), nil
}

// readLine returns a line without its break; io.EOF says that it had none. Of
// a line that is far too long the end is left out.
func readLine(reader *bufio.Reader) (line []byte, err error) {
	for {
		piece, err := reader.ReadSlice('\n')
		if len(line) <= event.MaxLine {
			line = append(line, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil && len(line) > 0 && line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		return line, err
	}
}
