// Package enforcer keeps what runs within the limits that its owner has now:
// when the limits file is read again, a person changes groups or an override
// begins or expires, containers and people's totals get the new values. More
// holds at once, less memory only as far as nothing has to be ended for it; the
// rest is tried again, and said. What a limit is it doesn't decide.
package enforcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
)

// Parts are what an enforcer works with.
type Parts struct {
	Ready    func() bool // the engine is known
	Records  func() []container.Record
	Limits   func(uid int) (limits.Limits, error)
	Level    func(ctx context.Context, uid int, l limits.Limits) (limits.Deferral, error)         // gives a person's group their totals
	Fit      func(ctx context.Context, claim string) (d limits.Deferral, changed bool, err error) // gives a container that runs what it may have
	Tell     func(uid int, text string) (int, error)                                              // on a person's terminals
	Recorder *recorder.Recorder                                                                   // nil: nothing is written down
	Log      *slog.Logger
}

// An Enforcer is one host's. A nil one defers nothing. It is safe for
// concurrent use.
type Enforcer struct {
	Parts
	wake chan struct{}

	// Run alone uses these: what was last given, and what went wrong.
	levels map[int]bounds
	fitted map[string]*fitting // by claim
	pass   int                 // which one it is
	failed map[string]string

	mu       sync.Mutex
	totals   map[int]limits.Deferral    // by person: of their total
	deferred map[string]limits.Deferral // by claim
}

// New returns an enforcer of these parts.
func New(p Parts) *Enforcer {
	return &Enforcer{
		Parts: p, wake: make(chan struct{}, 1), levels: map[int]bounds{}, fitted: map[string]*fitting{}, failed: map[string]string{},
		totals: map[int]limits.Deferral{}, deferred: map[string]limits.Deferral{},
	}
}

// bounds are what a person's limits come to for what runs.
type bounds struct {
	cpus, totalCPUs        quantity.Limit[quantity.CPUs]
	memory, swap           quantity.Limit[quantity.ByteSize]
	totalMemory, totalHigh quantity.Limit[quantity.ByteSize]
	read, write            quantity.Limit[quantity.ByteSize]
	pids, totalTasks       quantity.Limit[int64]
}

func boundsOf(l limits.Limits) bounds {
	return bounds{
		l.MaxCPUs, l.Aggregate.CPUs, l.Memory, l.MemorySwap, l.Aggregate.Memory, l.Aggregate.MemoryHigh,
		l.IOReadBPS, l.IOWriteBPS, l.PidsLimit, l.Aggregate.Tasks,
	}
}

// fitting is what a container was fitted to.
type fitting struct {
	bounds
	container string
	wishes    container.Wishes
	pass      int // which saw it run last
}

// How often it is looked whether somebody's limits are others by now, and
// whether what was deferred can be had.
const (
	lookEvery  = 10 * time.Second // each look asks the directory for everybody
	retryEvery = 2 * time.Second
)

// Run looks until ctx ends.
func (e *Enforcer) Run(ctx context.Context) error {
	for {
		wait := lookEvery
		if e.Pass(ctx) {
			wait = retryEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-time.After(wait):
		}
	}
}

// Wake has Run look now.
func (e *Enforcer) Wake() {
	select {
	case e.wake <- struct{}{}:
	default: // it is about to
	}
}

// Pass looks at everybody who has something running once, and reports whether
// anything is deferred. Run calls it; it isn't safe for concurrent use.
func (e *Enforcer) Pass(ctx context.Context) (deferred bool) {
	if !e.Ready() {
		return false
	}
	running := e.running()
	for _, uid := range slices.Sorted(maps.Keys(running)) {
		l, err := e.Limits(uid)
		if e.complain(ctx, fmt.Sprint("person ", uid), err) {
			continue // whose limits nobody knows keeps them
		}
		e.level(ctx, *running[uid][0], l)
		for _, r := range running[uid] {
			e.fit(ctx, r, boundsOf(l))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.totals)+len(e.deferred) > 0
}

// level gives the owner of a container their totals.
func (e *Enforcer) level(ctx context.Context, of container.Record, l limits.Limits) {
	uid, now := of.UID, boundsOf(l)
	if was, ok := e.levels[uid]; ok && was == now && e.DeferredTotal(uid) == (limits.Deferral{}) {
		return
	}
	d, err := e.Level(ctx, uid, l)
	if e.complain(ctx, fmt.Sprint("total of ", uid), err) {
		return
	}
	e.levels[uid] = now
	e.mu.Lock()
	before := e.totals[uid]
	keep(e.totals, uid, d)
	e.mu.Unlock()
	of.Name, of.ContainerID, of.ID, of.Devices = "", "", "", nil // it is of no one container
	e.say(ctx, of, "the memory of your containers together", before, d)
}

// fit gives one container what it may have.
func (e *Enforcer) fit(ctx context.Context, r *container.Record, now bounds) {
	f := fitting{bounds: now, container: r.ContainerID, pass: e.pass}
	if r.Wishes != nil {
		f.wishes = *r.Wishes
	}
	if was := e.fitted[r.ID]; was != nil && *was == f && e.Deferred(r.ID) == (limits.Deferral{}) {
		return
	}
	d, changed, err := e.Fit(ctx, r.ID)
	if e.complain(ctx, "container "+r.ID, err) {
		return
	}
	e.fitted[r.ID] = &f
	e.mu.Lock()
	before := e.deferred[r.ID]
	keep(e.deferred, r.ID, d)
	e.mu.Unlock()
	if none := (limits.Deferral{}); changed && before == none && d == none {
		e.record(*r, "the limits of its owner have changed, and it was fitted to them")
	}
	e.say(ctx, *r, "the memory of container "+r.Name, before, d)
}

func keep[K comparable](all map[K]limits.Deferral, key K, d limits.Deferral) {
	if all[key] = d; d == (limits.Deferral{}) {
		delete(all, key)
	}
}

// say tells everywhere that something is deferred, and that it isn't any more.
func (e *Enforcer) say(ctx context.Context, r container.Record, what string, before, now limits.Deferral) {
	none := limits.Deferral{}
	switch {
	case before.Wanted == now.Wanted:
	case now == none:
		e.Log.InfoContext(ctx, "memory lowered as was wanted", "uid", r.UID, "claim", r.ID, "to", before.Wanted)
		e.record(r, what+" is "+before.Wanted.String()+" now")
	default:
		text := Sentence(what, now)
		e.Log.WarnContext(ctx, "memory can't be lowered yet", "uid", r.UID, "claim", r.ID, "wanted", now.Wanted, "for_now", now.For)
		e.record(r, text)
		if _, err := e.Tell(r.UID, "ds01: "+text); err != nil {
			e.Log.DebugContext(ctx, "person not told", "uid", r.UID, "error", err)
		}
	}
}

// Sentence says what is deferred.
func Sentence(what string, d limits.Deferral) string {
	held := "has no limit for now"
	if d.For > 0 {
		held = "may be " + d.For.Rounded() + " for now"
	}
	return fmt.Sprintf("%s is to be %s, and more is in use. Nothing is ended: it %s, and less as less is used.", what, d.Wanted.Rounded(), held)
}

func (e *Enforcer) record(r container.Record, why string) {
	e.Recorder.Daemon(event.Event{
		Action: "limit", Why: why, Object: r.Name, Container: r.ContainerID, Claim: r.ID,
		Owner: r.Login, OwnerUID: &r.UID, Devices: r.Slots(),
	})
}

// complain logs what went wrong, once until it is something else, and reports
// whether anything did.
func (e *Enforcer) complain(ctx context.Context, what string, err error) bool {
	if err == nil {
		delete(e.failed, what)
		return false
	}
	if text := err.Error(); e.failed[what] != text && !errors.Is(err, problem.ErrNotFound) && ctx.Err() == nil {
		e.failed[what] = text
		e.Log.WarnContext(ctx, "limits not renewed, to be tried again", "of", what, "error", err)
	}
	return true
}

// running returns what runs, by owner, and forgets what doesn't any more: a start
// fits it.
func (e *Enforcer) running() map[int][]*container.Record {
	e.pass++
	records, running := e.Records(), map[int][]*container.Record{}
	for i := range records {
		r := &records[i]
		if r.State != gpu.Running {
			continue
		}
		running[r.UID] = append(running[r.UID], r)
		if f := e.fitted[r.ID]; f != nil {
			f.pass = e.pass
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.fitted, func(claim string, f *fitting) bool {
		gone := f.pass != e.pass
		if gone {
			delete(e.deferred, claim)
		}
		return gone
	})
	maps.DeleteFunc(e.levels, func(uid int, _ bounds) bool { return running[uid] == nil })
	maps.DeleteFunc(e.totals, func(uid int, _ limits.Deferral) bool { return running[uid] == nil })
	return running
}

// Deferred returns what is deferred of a container's memory.
func (e *Enforcer) Deferred(claim string) limits.Deferral {
	if e == nil {
		return limits.Deferral{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.deferred[claim]
}

// DeferredTotal returns what is deferred of a person's memory.
func (e *Enforcer) DeferredTotal(uid int) limits.Deferral {
	if e == nil {
		return limits.Deferral{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.totals[uid]
}
