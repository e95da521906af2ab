// Package audit speaks to the audit log's files: it appends events to the
// hash-chained file, takes the chain up again after a crash, moves full files
// aside, and reads them all in their order. What an event says, and whether a
// chain is whole, is decided elsewhere.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// Options say how a log is kept.
type Options struct {
	MaxSize int64 // bytes; a file that would grow over it is moved aside
	Keep    int   // how many files that were moved aside are kept
	Now     func() time.Time
	Log     *slog.Logger
}

// Log is the one writer of an audit log. It is safe for concurrent use. What
// it has appended outlives ds01 at once, and the machine after a sync, which
// Run does within a second.
type Log struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	max    int64
	keep   int
	file   *os.File   // nil: not open
	last   event.Link // the last line that was written
	broken error      // why nothing can be written; nil: it can
	missed int        // events that found it broken

	written chan struct{} // something was since Run last read from it
}

// Open returns the log whose newest file is at path, and opens it. A log that
// can't be written now is returned all the same: Problem says why, and each
// Append tries again.
func Open(path string, o Options) *Log {
	l := &Log{path: path, log: o.Log, now: o.Now, max: o.MaxSize, keep: o.Keep, written: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		l.fail(err)
	}
	return l
}

// Limit sets the size and the number of files anew.
func (l *Log) Limit(maxSize int64, keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max, l.keep = maxSize, keep
}

// Append writes an event and returns its number. When it returns, the line is
// in the file. An error, of kind problem.ErrUnavailable, means that it isn't.
func (l *Log) Append(e event.Event) (seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err = l.recover(); err == nil {
		err = l.append(e)
	}
	if err != nil {
		l.missed++
		l.fail(err)
		return 0, unwritable(err)
	}
	return l.last.Seq, nil
}

// Ready returns why nothing can be written, after another try, or nil.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.recover(); err != nil {
		l.fail(err)
		return unwritable(err)
	}
	return nil
}

// Problem says why nothing can be written, "" when it can.
func (l *Log) Problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		return ""
	}
	return l.broken.Error()
}

// Last returns the place of the last line in the chain.
func (l *Log) Last() event.Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func unwritable(err error) error {
	return &problem.Error{
		What: "Nothing was changed",
		Why:  problem.Because(problem.ErrUnavailable, "ds01 can't write its audit log, and changes nothing without: "+err.Error()),
		Next: "Tell your administrators; 'ds01 doctor' shows it to them. What runs is not affected.",
	}
}

// fail remembers that nothing can be written, and says so once.
func (l *Log) fail(err error) {
	if l.broken == nil {
		l.log.Error("audit log can't be written: changes are refused", "path", l.path, "error", err)
	}
	l.broken = err
}

// recover tries whether a log that could not be written can be again, and
// says in it what is missing.
func (l *Log) recover() error {
	if l.broken == nil {
		return nil
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	err := l.append(event.Event{
		Time: l.now(), Door: event.Daemon, Decision: event.Allowed, Action: "audit resume", User: daemonUser, Times: l.missed,
		Why: "the log could not be written: " + l.broken.Error(),
	})
	if err == nil {
		err = l.file.Sync() // the disk may only seem to take it
	}
	if err != nil {
		return err
	}
	l.log.Info("audit log can be written again", "path", l.path, "missed", l.missed)
	l.broken, l.missed = nil, 0
	return nil
}

// daemonUser is who acts where nobody asked.
const daemonUser = "ds01"

// append writes one line behind the last.
func (l *Log) append(e event.Event) error {
	line, sealed, err := event.Seal(e, l.last)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	size, err := l.place(int64(len(line)))
	if err != nil {
		return err
	}
	if n, err := l.file.Write(line); err != nil {
		if n > 0 && l.file.Truncate(size) != nil { // half a line would break the chain
			_ = l.file.Close() // open sets the half aside
			l.file = nil
		}
		return fmt.Errorf("append to %s: %w", l.path, err)
	}
	l.last = sealed.Link()
	select {
	case l.written <- struct{}{}:
	default: // a sync is on its way
	}
	return nil
}

// place makes sure that there is a file with room for more bytes, and returns
// its size.
func (l *Log) place(more int64) (size int64, err error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", l.path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Nlink == 0 {
		l.log.Error("audit log was deleted; it goes on in a new file", "path", l.path)
		return 0, l.renew()
	}
	if info.Size() == 0 || info.Size()+more <= l.max {
		return info.Size(), nil
	}
	return 0, l.rotate()
}

// Reopen goes on in a new file where somebody has moved the log away, and
// syncs the old one.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	mine, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", l.path, err)
	}
	there, err := os.Stat(l.path)
	if err == nil && os.SameFile(mine, there) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", l.path, err)
	}
	return l.renew()
}

// renew syncs the file and goes on in the one at path.
func (l *Log) renew() error {
	file, err := openFile(l.path)
	if err != nil {
		return err
	}
	l.swap(file)
	return nil
}

// swap takes another file; the one before is synced, as far as it goes.
func (l *Log) swap(file *os.File) {
	if err := errors.Join(l.file.Sync(), l.file.Close()); err != nil {
		l.log.Error("audit log's last file not synced", "path", l.path, "error", err)
	}
	l.file = file
}

func openFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("folder of the audit log: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600) //nolint:gosec // the daemon's own file
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	if err := file.Chmod(0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open the audit log: %w", err), file.Close())
	}
	return file, nil
}

// syncEvery is how much of the log a power cut can take back.
const syncEvery = time.Second

// Run syncs what was written until ctx ends. Close syncs the rest.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.written:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(syncEvery):
			l.sync()
		}
	}
}

// sync waits for the disk without keeping those who append waiting.
func (l *Log) sync() {
	l.mu.Lock()
	file := l.file
	l.mu.Unlock()
	if file == nil {
		return // recover opens and syncs it
	}
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // closed: it was synced when it was moved aside
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fail(fmt.Errorf("sync the audit log: %w", err))
	}
}

// Close syncs and closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close(), syncFolder(filepath.Dir(l.path)))
	l.file = nil
	if err != nil {
		return fmt.Errorf("close the audit log: %w", err)
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path) //nolint:gosec // the daemon's own folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
