// Package reconciler keeps ds01's records and the engine in step: it watches
// what happens to containers, gives devices back in time, finds containers
// again whose create was never answered, and quarantines those that ds01
// doesn't know. One pass is one function; events only say where to look.
package reconciler

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
)

// Engine shows containers.
type Engine interface {
	List(ctx context.Context) ([]container.Observed, error)
	Inspect(ctx context.Context, id string) (container.Observed, error)
	ByClaim(ctx context.Context, claim string) (container.Observed, error)
	Events(ctx context.Context, ready func(), changed func(container.Event)) error
}

// Parts are what a reconciler works with.
type Parts struct {
	Engine    Engine
	Stop      func(ctx context.Context, id string) error    // ends a container that runs on a device it lost
	Remove    func(ctx context.Context, id string) error    // removes one that was only half made
	Disarm    func(ctx context.Context, id string) error    // takes the engine's restart policy from an adopted one
	Connected func(ctx context.Context) error               // called each time the engine begins to tell
	Named     func(ctx context.Context, image string) error // called when an image was given a name
	Ledger    *allocator.Allocator
	Launcher  *launcher.Launcher
	Registrar *registrar.Registrar
	Limits    func(uid int) (limits.Limits, error)
	Devices   func() []gpu.Device
	KeepTime  func(ctx context.Context)                     // puts off what is due by what the clock has jumped; nil: it never does
	Tell      func(uid int, text string) (int, error)       // on a person's terminals; nil: nobody is told
	Mail      func(login, subject, text string) (sent bool) // takes a mail, or says that it can't now; nil: nobody gets any
	Recorder  *recorder.Recorder                            // nil: nothing is written down
	Log       *slog.Logger
	Now       func() time.Time
}

// Reconciler is one engine's. It is safe for concurrent use.
type Reconciler struct {
	Parts

	mu          sync.Mutex
	observed    map[string]container.Observed // by container id: what was last seen
	quarantined map[string]container.Observed // by container id: not in the ledger
	queued      map[string]need               // by container id: an event waits for its look
	young       map[string]bool               // by container id: it was started here and not looked at since
	silent      map[string]bool               // by container id: the engine, asked last, said nothing about it
	up          bool                          // the engine answered last
	told        map[string]string             // by claim: what was last written down of it
	revived     bool                          // since it came up, what is to run then was decided
	starting    map[string]bool               // by claim: a start by its policy is on its way

	early   chan birth    // what is young, see looksLater
	changed chan struct{} // something may be due, see restarts

	noted map[string]bool // see noteAilments, which alone uses it
	began time.Time       // when it was made
}

// New returns a reconciler of these parts.
func New(p Parts) *Reconciler {
	return &Reconciler{
		Parts: p, observed: map[string]container.Observed{}, quarantined: map[string]container.Observed{},
		queued: map[string]need{}, silent: map[string]bool{}, young: map[string]bool{}, early: make(chan birth, 1024), told: map[string]string{},
		starting: map[string]bool{}, changed: make(chan struct{}, 1), noted: map[string]bool{}, began: p.Now(),
	}
}

// Intervals of Run.
const (
	glanceEvery = 30 * time.Second
	retryAfter  = 500 * time.Millisecond
	lookers     = 8
)

// Run keeps everything in step until ctx ends. An engine that is down is
// waited for.
func (r *Reconciler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.watch(ctx) })
	g.Go(func() error { return every(ctx, glanceEvery, r.glance) })
	g.Go(func() error { return r.plans(ctx) })
	g.Go(func() error { return r.restarts(ctx) })
	g.Go(func() error { return r.looksLater(ctx) })
	return g.Wait()
}

func every(ctx context.Context, interval time.Duration, do func(context.Context)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do(ctx)
		}
	}
}

// watch follows the engine's events, and sweeps each time it has begun to.
// Several containers are looked at side by side: one that takes long to start
// doesn't keep the others waiting.
func (r *Reconciler) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		var workers errgroup.Group
		workers.SetLimit(lookers)
		err := r.Engine.Events(ctx,
			func() { workers.Go(func() error { r.connected(ctx); return nil }) },
			func(e container.Event) { workers.Go(func() error { r.handle(ctx, e); return nil }) })
		_ = workers.Wait() // they return nil
		r.Ledger.SetBlind(true)
		r.setUp(ctx, false, err)
		r.mu.Lock()
		r.revived = false
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
	return nil
}

// connected asks the engine who it is, then looks at everything.
func (r *Reconciler) connected(ctx context.Context) {
	if err := r.Connected(ctx); err != nil {
		r.setUp(ctx, false, err)
		return
	}
	if err := r.Registrar.Settle(ctx); err != nil {
		r.Log.WarnContext(ctx, "volumes and networks not looked up", "error", err)
	}
	r.sweep(ctx)
}

// handle looks where an event points.
func (r *Reconciler) handle(ctx context.Context, e container.Event) {
	if e.Kind != container.KindContainer {
		r.settle(ctx, e)
		return
	}
	var err error
	switch e.Action {
	case "create":
		if !r.bound(ctx, e) {
			err = r.glimpse(ctx, e.ID, always)
		}
	case "destroy":
		err = r.bury(ctx, e.ID)
	case "die":
		err = r.glimpse(ctx, e.ID, unlessItRemovesItself)
	case "start":
		err = r.glimpse(ctx, e.ID, unlessYoung)
	case "restart", "pause", "unpause", "rename", "update", "oom":
		err = r.glimpse(ctx, e.ID, always)
	}
	if err != nil {
		r.Log.WarnContext(ctx, "container not looked up", "container", e.ID, "action", e.Action, "error", err)
	}
}

// bound reports whether a new container is bound to its claim, once whoever
// makes it is done: then there is nothing to find out about it.
func (r *Reconciler) bound(ctx context.Context, e container.Event) bool {
	if _, ok := r.Ledger.Record(e.Claim); !ok {
		return false
	}
	turn, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	unlock, err := r.Ledger.LockContext(turn, e.Claim)
	if err != nil {
		return false
	}
	defer unlock()
	record, ok := r.Ledger.Record(e.Claim)
	return ok && record.ContainerID == e.ID
}

// A need is whether there is anything to find out about a container once who looks
// at it has its turn. Of several, the last includes the others.
type need int

const (
	unlessYoung           need = iota // whoever started it has told all but its process
	unlessItRemovesItself             // the news of that comes next, and looking now only delays it
	always
)

// glimpse looks at a container unless somebody is about to: a container that
// keeps its lookers waiting must not have all of them.
func (r *Reconciler) glimpse(ctx context.Context, id string, n need) error {
	r.mu.Lock()
	before, queued := r.queued[id]
	r.queued[id] = max(before, n)
	r.mu.Unlock()
	if queued {
		return nil
	}
	return r.observeSoon(ctx, id, func() (needless func() bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := r.queued[id]
		delete(r.queued, id)
		return func() bool { return r.needless(id, n) }
	})
}

func (r *Reconciler) needless(id string, n need) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n {
	case unlessYoung:
		return r.young[id]
	case unlessItRemovesItself:
		return r.observed[id].AutoRemove
	default:
		return false
	}
}

// bury forgets a container whose end the engine told: there is nothing left
// to look at.
func (r *Reconciler) bury(ctx context.Context, id string) error {
	defer r.Ledger.Lock(id)()
	if record, ok := r.Ledger.ByContainer(id); ok {
		defer r.Ledger.Lock(record.ID)()
	}
	return r.forget(ctx, id)
}

func (r *Reconciler) sweep(ctx context.Context) {
	err := r.Sweep(ctx)
	r.setUp(ctx, err == nil, err)
}

// glance looks at the containers whose state isn't what events have told.
func (r *Reconciler) glance(ctx context.Context) {
	err := r.look(ctx, r.outOfStep)
	r.setUp(ctx, err == nil, err)
}

func (r *Reconciler) setUp(ctx context.Context, up bool, err error) {
	r.mu.Lock()
	was, revived := r.up, r.revived || !up
	r.up, r.revived = up, r.revived || up
	r.mu.Unlock()
	if !revived {
		r.revive(ctx)
	}
	if was != up && ctx.Err() == nil {
		if up {
			r.Log.InfoContext(ctx, "engine is up")
			r.wake()
		} else {
			r.Log.ErrorContext(ctx, "engine is down", "error", err)
		}
	}
}

// Up reports whether the engine answered when it was last asked.
func (r *Reconciler) Up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// Sweep looks at every container and every record once.
func (r *Reconciler) Sweep(ctx context.Context) error {
	return r.look(ctx, func(container.Observed) bool { return true })
}

// outOfStep reports whether the engine's list shows what ds01 doesn't know.
func (r *Reconciler) outOfStep(listed container.Observed) bool {
	r.mu.Lock()
	foreign := r.quarantined[listed.ID]
	state := r.observed[listed.ID].State
	unsure := r.silent[listed.ID] || r.young[listed.ID]
	r.mu.Unlock()
	record, ours := r.Ledger.ByContainer(listed.ID)
	switch {
	case unsure:
		return true
	case !ours:
		return foreign.State != listed.State || foreign.Hints.All // it may only be that it couldn't be looked at
	case state != listed.State, listed.Running() != (record.State == gpu.Running):
		return true
	}
	return record.State == gpu.Bound && listed.State != "created"
}

// listTimeout bounds the engine's list of all containers. One that hangs takes
// requests, and is down all the same.
const listTimeout = 20 * time.Second

// look lists all containers and observes those that are worth it, and the
// records whose containers aren't there.
func (r *Reconciler) look(ctx context.Context, worth func(container.Observed) bool) error {
	r.mu.Lock()
	before := maps.Clone(r.quarantined) // one that comes after the list isn't in it
	r.mu.Unlock()
	listing, cancel := context.WithTimeout(ctx, listTimeout)
	list, err := r.Engine.List(listing)
	cancel()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var looks errgroup.Group
	looks.SetLimit(lookers)
	observe := func(o container.Observed) { looks.Go(func() error { return r.tryObserve(ctx, o) }) }
	for _, o := range list {
		seen[o.ID] = true
		if worth(o) {
			observe(o)
		}
	}
	for _, record := range r.Ledger.Records() {
		if record.ContainerID != "" && !seen[record.ContainerID] {
			observe(container.Observed{ID: record.ContainerID})
		}
	}
	err = looks.Wait()
	r.mu.Lock()
	maps.DeleteFunc(r.quarantined, func(id string, _ container.Observed) bool {
		_, listed := before[id]
		return listed && !seen[id]
	})
	maps.DeleteFunc(r.silent, func(id string, _ bool) bool { return !seen[id] })
	maps.DeleteFunc(r.observed, func(id string, _ container.Observed) bool {
		_, known := r.Ledger.ByContainer(id)
		return !known
	})
	maps.DeleteFunc(r.young, func(id string, _ bool) bool { return !seen[id] })
	maps.DeleteFunc(r.told, func(claim, _ string) bool {
		_, known := r.Ledger.Record(claim)
		return !known
	})
	r.mu.Unlock()
	r.countTaken()
	if err == nil {
		r.Ledger.SetBlind(false)
	}
	return err
}
