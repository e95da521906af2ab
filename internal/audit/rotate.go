package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// numbered returns the name of a file that was moved aside: 1 is the newest.
func numbered(path string, n int) string { return path + "." + strconv.Itoa(n) }

// rotate moves the file aside and goes on in a new one, whose first line names
// the last hash of the old one as any line does. The oldest goes. A crash
// between two steps leaves a gap in the numbers, an empty file, or no newest
// one, and each is taken up again.
func (l *Log) rotate() error {
	if err := l.file.Sync(); err != nil { // a power cut may tear the newest file only
		return fmt.Errorf("sync the audit log: %w", err)
	}
	// Before anything is moved: a try that fails is made again and again.
	file, err := openFile(l.path + ".new")
	if err != nil {
		return err
	}
	if err := l.shift(); err != nil {
		return errors.Join(err, file.Close())
	}
	l.swap(file)
	l.log.Info("audit log moved aside", "path", l.path, "seq", l.last.Seq, "hash", l.last.Hash)
	return nil
}

// shift moves every file on by one number, and the new one to the log's path.
func (l *Log) shift() error {
	if err := l.removeOldest(); err != nil {
		return err
	}
	for n := l.keep - 1; n >= 1; n-- {
		if err := os.Rename(numbered(l.path, n), numbered(l.path, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move an audit log aside: %w", err)
		}
	}
	if err := errors.Join(os.Rename(l.path, numbered(l.path, 1)), os.Rename(l.path+".new", l.path)); err != nil {
		return fmt.Errorf("move the audit log aside: %w", err)
	}
	return nil
}

// removeOldest makes room for one file more: there may be too many where fewer
// are to be kept than before.
func (l *Log) removeOldest() error {
	for n := l.keep; ; n++ {
		err := os.Remove(numbered(l.path, n))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("remove the oldest audit log: %w", err)
		}
	}
}
