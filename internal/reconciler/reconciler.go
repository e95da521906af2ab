// Package reconciler keeps ds01's records and the engine in step: it watches
// what happens to containers, gives devices back in time, finds containers
// again whose create was never answered, and quarantines those that ds01
// doesn't know. One pass is one function; events only say where to look.
package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
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
	Stop      func(ctx context.Context, id string) error // ends a container that runs on a device it lost
	Connected func(ctx context.Context) error            // called each time the engine begins to tell
	Ledger    *allocator.Allocator
	Launcher  *launcher.Launcher
	Limits    func(uid int) (limits.Limits, error)
	Devices   func() []gpu.Device
	Log       *slog.Logger
	Now       func() time.Time
}

// Reconciler is one engine's. It is safe for concurrent use.
type Reconciler struct {
	Parts

	mu          sync.Mutex
	observed    map[string]container.Observed // by container id: what was last seen
	quarantined map[string]container.Observed // by container id: not in the ledger
	up          bool                          // the engine answered last
}

// New returns a reconciler of these parts.
func New(p Parts) *Reconciler {
	return &Reconciler{Parts: p, observed: map[string]container.Observed{}, quarantined: map[string]container.Observed{}}
}

// Intervals of Run.
const (
	glanceEvery = 30 * time.Second
	planEvery   = time.Second
	retryAfter  = 500 * time.Millisecond
	lookers     = 8
)

// Run keeps everything in step until ctx ends. An engine that is down is
// waited for.
func (r *Reconciler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.watch(ctx) })
	g.Go(func() error { return every(ctx, glanceEvery, r.glance) })
	g.Go(func() error { return every(ctx, planEvery, r.carryOut) })
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
	r.sweep(ctx)
}

// handle looks where an event points.
func (r *Reconciler) handle(ctx context.Context, e container.Event) {
	var err error
	switch e.Action {
	case "destroy":
		err = r.bury(ctx, e.ID)
	case "create", "start", "restart", "die", "pause", "unpause", "rename", "update", "oom":
		err = r.Observe(ctx, e.ID)
	}
	if err != nil {
		r.Log.WarnContext(ctx, "container not looked up", "container", e.ID, "action", e.Action, "error", err)
	}
}

// bury forgets a container whose end the engine told: there is nothing left
// to look at.
func (r *Reconciler) bury(ctx context.Context, id string) error {
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
	was := r.up
	r.up = up
	r.mu.Unlock()
	if was != up && ctx.Err() == nil {
		if up {
			r.Log.InfoContext(ctx, "engine is up")
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
	foreign := r.quarantined[listed.ID].State
	state := r.observed[listed.ID].State
	r.mu.Unlock()
	record, ours := r.Ledger.ByContainer(listed.ID)
	switch {
	case !ours:
		return foreign != listed.State
	case state != listed.State, listed.Running() != (record.State == gpu.Running):
		return true
	}
	return record.State == gpu.Bound && listed.State != "created"
}

// look lists all containers and observes those that are worth it, and the
// records whose containers aren't there.
func (r *Reconciler) look(ctx context.Context, worth func(container.Observed) bool) error {
	r.mu.Lock()
	before := maps.Clone(r.quarantined) // one that comes after the list isn't in it
	r.mu.Unlock()
	list, err := r.Engine.List(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, o := range list {
		seen[o.ID] = true
		if worth(o) {
			err = errors.Join(err, r.tryObserve(ctx, o.ID))
		}
	}
	for _, record := range r.Ledger.Records() {
		if record.ContainerID != "" && !seen[record.ContainerID] {
			err = errors.Join(err, r.tryObserve(ctx, record.ContainerID))
		}
	}
	r.mu.Lock()
	maps.DeleteFunc(r.quarantined, func(id string, _ container.Observed) bool {
		_, listed := before[id]
		return listed && !seen[id]
	})
	maps.DeleteFunc(r.observed, func(id string, _ container.Observed) bool {
		_, known := r.Ledger.ByContainer(id)
		return !known
	})
	r.mu.Unlock()
	r.countTaken()
	if err == nil {
		r.Ledger.SetBlind(false)
	}
	return err
}

// tryObserve looks at one container of many: what is wrong with it alone is
// logged and keeps nobody else waiting.
func (r *Reconciler) tryObserve(ctx context.Context, id string) error {
	err := r.Observe(ctx, id)
	if err == nil || errors.Is(err, problem.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	r.Log.WarnContext(ctx, "container not looked up", "container", id, "error", err)
	return nil
}

// Observe looks at one container and brings its record in step.
func (r *Reconciler) Observe(ctx context.Context, id string) error {
	claim, err := r.claimOf(ctx, id)
	if err != nil || claim == "" {
		return err
	}
	defer r.Ledger.Lock(claim)()
	o, err := r.Engine.Inspect(ctx, id)
	if errors.Is(err, problem.ErrNotFound) {
		return r.forget(ctx, id)
	}
	if err != nil {
		return err
	}
	record, ok := r.Ledger.Record(claim)
	if !ok {
		r.quarantine(o)
		return nil
	}
	if record.ContainerID == "" {
		if err := r.bind(ctx, &record, o); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.observed[id] = o
	delete(r.quarantined, id)
	r.mu.Unlock()
	return r.follow(ctx, record, o)
}

// claimOf returns the claim a container belongs to: by the ledger, else by
// the label of a create that was not answered. "" means that it is none of
// ours, and is quarantined by now, or gone.
func (r *Reconciler) claimOf(ctx context.Context, id string) (string, error) {
	if record, ok := r.Ledger.ByContainer(id); ok {
		return record.ID, nil
	}
	o, err := r.Engine.Inspect(ctx, id)
	if errors.Is(err, problem.ErrNotFound) {
		return "", r.forget(ctx, id)
	}
	if err != nil {
		return "", err
	}
	if record, ok := r.Ledger.Record(o.ClaimID()); ok && (record.ContainerID == "" || record.ContainerID == id) {
		return record.ID, nil
	}
	r.quarantine(o)
	return "", nil
}

// bind ties a pending claim to the container that was made for it after all.
func (r *Reconciler) bind(ctx context.Context, record *container.Record, o container.Observed) error {
	r.Log.InfoContext(ctx, "container found again by its claim", "claim", record.ID, "container", o.ID)
	return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
		c.ContainerID, c.State, c.HeldUntil = o.ID, gpu.Bound, lifecycle.CreatedUntil(c.CreatedAt)
		*record = *c
	})
}

// forget drops the record of a container that is gone.
func (r *Reconciler) forget(ctx context.Context, id string) error {
	r.mu.Lock()
	delete(r.observed, id)
	_, foreign := r.quarantined[id]
	delete(r.quarantined, id)
	r.mu.Unlock()
	if foreign {
		r.countTaken()
	}
	record, ok := r.Ledger.ByContainer(id)
	if !ok {
		return nil
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Forget(ctx, record.ID)
}

// follow brings the record in step with what the container does. The caller
// holds the claim's lock.
func (r *Reconciler) follow(ctx context.Context, record container.Record, o container.Observed) error {
	switch {
	case o.Running():
		return r.followRunning(ctx, record, o)
	case o.State == "created" && record.State == gpu.Running: // its start was not answered, and came to nothing
		if err := r.Launcher.Cleanup(ctx, record); err != nil {
			return err
		}
		return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
			c.State, c.HeldUntil = gpu.Bound, lifecycle.CreatedUntil(r.Now())
		})
	case o.State == "created" || o.State == "removing":
		return nil
	case record.State != gpu.Running && record.State != gpu.Bound:
		return nil
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Update(ctx, record.ID, func(c *container.Record) {
		c.State, c.HeldUntil = gpu.Held, lifecycle.HoldUntil(o.FinishedAt, c.Quota)
	})
}

// followRunning makes sure that what runs holds its devices, also when it was
// started past ds01. One whose devices went to somebody else is stopped: a
// GPU never has two owners.
func (r *Reconciler) followRunning(ctx context.Context, record container.Record, o container.Observed) error {
	if record.State == gpu.Running {
		return nil
	}
	bound, err := r.Limits(record.UID)
	if err != nil {
		return err
	}
	err = r.Ledger.Acquire(ctx, record.ID, bound)
	if err == nil {
		return nil
	}
	r.Log.ErrorContext(ctx, "container runs without its devices, stopping it", "container", o.ID, "claim", record.ID, "error", err)
	return r.Stop(ctx, o.ID)
}

func (r *Reconciler) quarantine(o container.Observed) {
	r.mu.Lock()
	_, known := r.quarantined[o.ID]
	r.quarantined[o.ID] = o
	r.mu.Unlock()
	if !known {
		r.Log.Warn("container unknown to ds01, quarantined", "container", o.ID, "name", o.Name)
		r.countTaken()
	}
}

// countTaken counts every device that a quarantined container reaches as
// taken.
func (r *Reconciler) countTaken() {
	devices := r.Devices()
	taken := map[string]string{}
	r.mu.Lock()
	defer r.mu.Unlock() // whoever counts later also tells later
	for _, o := range r.quarantined {
		for _, uuid := range o.Hints.Reaches(devices) {
			taken[uuid] = "a container that ds01 did not make (" + o.Name + ") can reach it"
		}
	}
	r.Ledger.SetTaken(taken)
}

// carryOut does what lifecycle says is due.
func (r *Reconciler) carryOut(ctx context.Context) {
	if !r.Up() {
		return // what the engine holds can't be looked up
	}
	for _, a := range lifecycle.Plan(r.Ledger.Records(), r.Now()) {
		if err := r.act(ctx, a); err != nil {
			r.Log.ErrorContext(ctx, "lifecycle action failed", "claim", a.Claim, "verb", string(a.Verb), "error", err)
		}
	}
}

func (r *Reconciler) act(ctx context.Context, a lifecycle.Action) error {
	defer r.Ledger.Lock(a.Claim)()
	record, ok := r.Ledger.Record(a.Claim)
	if !ok || len(lifecycle.Plan([]container.Record{record}, r.Now())) == 0 {
		return nil // something happened since
	}
	r.Log.InfoContext(ctx, "claim", "verb", string(a.Verb), "claim", a.Claim, "reason", a.Reason)
	if a.Verb == lifecycle.Forget {
		return r.giveUp(ctx, record)
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Update(ctx, a.Claim, func(c *container.Record) { c.State, c.HeldUntil = gpu.Released, time.Time{} })
}

// giveUp drops a pending claim, unless the engine has its container after all.
// The caller holds the claim's lock.
func (r *Reconciler) giveUp(ctx context.Context, record container.Record) error {
	o, err := r.Engine.ByClaim(ctx, record.ID)
	switch {
	case err == nil:
		return r.bind(ctx, &record, o)
	case !errors.Is(err, problem.ErrNotFound):
		return err
	}
	if err := r.Launcher.Cleanup(ctx, record); err != nil {
		return err
	}
	return r.Ledger.Forget(ctx, record.ID)
}

// A View is one container as ds01 knows it: its record, or only what the
// engine shows when it is quarantined.
type View struct {
	Record      container.Record
	Observed    container.Observed // zero while pending
	Quarantined bool
}

// Views returns every container that keep says yes to: records oldest first,
// then quarantined ones by id.
func (r *Reconciler) Views(keep func(container.Record) bool) []View {
	records := r.Ledger.Records()
	r.mu.Lock()
	defer r.mu.Unlock()
	var views []View
	for _, record := range records {
		if keep(record) {
			views = append(views, View{Record: record, Observed: r.observed[record.ContainerID]})
		}
	}
	return views
}

// Quarantined returns the containers that ds01 doesn't know, by id.
func (r *Reconciler) Quarantined() []container.Observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]container.Observed, 0, len(r.quarantined))
	for _, o := range r.quarantined {
		all = append(all, o)
	}
	sortByID(all)
	return all
}

// Adopt makes a quarantined container its new owner's.
func (r *Reconciler) Adopt(ctx context.Context, id string, record container.Record) (container.Record, error) {
	r.mu.Lock()
	o, ok := r.quarantined[id]
	r.mu.Unlock()
	if !ok {
		return container.Record{}, fmt.Errorf("container %s is not in quarantine: %w", id, problem.ErrNotFound)
	}
	uuids := o.Hints.Reaches(r.Devices())
	record.ContainerID, record.Image, record.State = o.ID, o.Image, gpu.Held
	if o.Running() {
		record.State = gpu.Running
	} else {
		record.HeldUntil = lifecycle.HoldUntil(r.Now(), record.Quota)
	}
	adopted, err := r.Ledger.Adopt(ctx, record, uuids)
	if err != nil {
		return container.Record{}, err
	}
	r.mu.Lock()
	delete(r.quarantined, id)
	r.observed[id] = o
	r.mu.Unlock()
	r.countTaken()
	return adopted, nil
}

func sortByID(all []container.Observed) {
	slices.SortFunc(all, func(a, b container.Observed) int { return strings.Compare(a.ID, b.ID) })
}
