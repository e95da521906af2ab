// Package recorder writes down who asked for what and what was decided:
// denials when they are given, changes before they are made, and failures
// after them. It keeps a log that can't be written from being passed by:
// nothing is changed then. It decides nothing else and knows no file.
package recorder

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// Sink takes events.
type Sink interface {
	// Append returns once the event is in the log, with its number.
	Append(e event.Event) (seq uint64, err error)
	// Ready returns why nothing can be written, or nil.
	Ready() error
}

// Recorder is safe for concurrent use. A nil one writes nothing down.
type Recorder struct {
	sink Sink
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex
	floods map[int]*flood // by uid
}

// New returns a recorder that writes to sink.
func New(sink Sink, now func() time.Time, log *slog.Logger) *Recorder {
	return &Recorder{sink: sink, now: now, log: log, floods: map[int]*flood{}}
}

// An Entry is one request on its way into the log. It is safe for concurrent
// use. A nil one writes nothing down.
type Entry struct {
	recorder *Recorder
	changes  bool
	hints    func(*event.Event)

	mu      sync.Mutex
	event   event.Event
	secrets []string
	seq     uint64 // of the allowed event, 0: none yet
}

type key struct{}

// Entry returns the entry of a request that changes something or doesn't. e
// says who asks for what; hints adds what takes a look at the process that
// asks, and is called when something is written.
func (r *Recorder) Entry(e event.Event, changes bool, hints func(*event.Event)) *Entry {
	if r == nil {
		return nil
	}
	return &Entry{recorder: r, changes: changes, hints: hints, event: e}
}

// Begin returns a context that carries the entry to Before and Note. It fails
// where the request changes something and can't be written down.
func (e *Entry) Begin(ctx context.Context) (context.Context, error) {
	if e == nil {
		return ctx, nil
	}
	if e.changes {
		if err := e.recorder.sink.Ready(); err != nil {
			return ctx, err
		}
	}
	return context.WithValue(ctx, key{}, e), nil
}

// Note adds to the entry of ctx, if it has one, what was found out since.
func Note(ctx context.Context, add func(*event.Event)) {
	if e, ok := ctx.Value(key{}).(*Entry); ok {
		e.Note(add)
	}
}

// Note adds what was found out since.
func (e *Entry) Note(add func(*event.Event)) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	add(&e.event)
}

// Hide keeps values out of every reason, where an error may quote them.
func Hide(ctx context.Context, values []string) {
	if e, ok := ctx.Value(key{}).(*Entry); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.secrets = append(e.secrets, values...)
	}
}

// Before writes down, once, that what the request of ctx asks for is allowed.
// Whoever is about to change something calls it before, and leaves it where
// Before fails. A context without an entry is nobody's request.
func Before(ctx context.Context) error {
	e, ok := ctx.Value(key{}).(*Entry)
	if !ok {
		return nil
	}
	return e.allow()
}

func (e *Entry) allow() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seq != 0 || !e.changes {
		return nil
	}
	seq, err := e.write(event.Allowed)
	e.seq = seq
	return err
}

// write appends the entry as it is. The caller holds its lock.
func (e *Entry) write(d event.Decision) (uint64, error) {
	e.event.Time, e.event.Decision = e.recorder.now(), d
	if e.hints != nil {
		e.hints(&e.event)
		e.hints = nil
	}
	return e.recorder.sink.Append(e.event)
}

// Finish writes down how the request ended: err is why it was refused or
// failed, with the status that was answered, nil where it went well. A change
// that nobody announced by Before is written now.
func (e *Entry) Finish(err error, status int) {
	if e == nil {
		return
	}
	if err == nil {
		if aerr := e.allow(); aerr != nil {
			e.recorder.log.Error("a change is missing in the audit log", "action", e.event.Action, "uid", e.event.UID, "error", aerr)
		}
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	decision := event.Denied
	switch {
	case e.seq != 0:
		decision = event.Failed
	case !e.changes && !e.barred(err), e.recorder.flooded(e.event):
		return
	case !decided(err):
		decision = event.Failed
	}
	e.event.Of, e.event.Why, e.event.Status = e.seq, hide(err.Error(), e.secrets), status
	_, _ = e.write(decision) // the sink says what it can't write; refused it is all the same
}

// decided reports whether err refuses a request, rather than tells that
// something doesn't work.
func decided(err error) bool {
	for _, kind := range []error{
		problem.ErrDenied, problem.ErrLimit, problem.ErrExhausted, problem.ErrNotFound, problem.ErrConflict, problem.ErrInvalid,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// barred reports whether err keeps somebody from looking at something, and not
// just tells that it isn't there.
func (e *Entry) barred(err error) bool {
	return errors.Is(err, problem.ErrDenied) || errors.Is(err, problem.ErrLimit) || errors.Is(err, problem.ErrNotFound) && e.event.OwnerUID != nil
}

// hide takes values out of a text. Those of one or two letters are everywhere,
// and no secrets.
func hide(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) > 2 {
			text = strings.ReplaceAll(text, s, "…")
		}
	}
	return text
}

// Daemon writes down what the daemon does by itself, and why.
func (r *Recorder) Daemon(e event.Event) {
	if r == nil {
		return
	}
	e.Time, e.Door, e.User = r.now(), event.Daemon, "ds01"
	if e.Decision == "" {
		e.Decision = event.Allowed
	}
	_, _ = r.sink.Append(e) // the sink says what it can't write; what is due is done all the same
}

// Refused is the error of a request that the engine has refused with a status
// and a message.
func Refused(status int, message string) error {
	if message == "" {
		message = http.StatusText(status)
	}
	return errors.New("the engine refused: " + message)
}
