// Package allocator is the one place that grants: it counts, chooses and
// stores a claim in one step, so that two callers never get the same device,
// and keeps every record in memory for those who look one up. It asks the
// store to write and the driver for nothing.
package allocator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

// Store keeps records over restarts.
type Store interface {
	Containers(ctx context.Context) ([]container.Record, error)
	Save(ctx context.Context, r container.Record) error
	Delete(ctx context.Context, claim string) error
	Flush() error
	// Redeem is Save, and removes the ticket that the devices were kept for.
	Redeem(ctx context.Context, r container.Record, ticket string) error
	QueueStore
}

// Allocator holds every record. It is safe for concurrent use.
type Allocator struct {
	store   Store
	devices func() []gpu.Device
	now     func() time.Time

	mu      sync.Mutex
	records map[string]container.Record // by claim id
	order   []string                    // of the records, the oldest first; nil: to be made
	listed  []container.Record          // in that order, shared with those who asked; nil: to be made
	byID    map[string]string           // container id → claim id
	gone    map[string]tombstone        // container id → who owned it
	taken   map[string]string           // device UUID → why nobody gets it

	foreign, strangers map[string]string // what it is made of: see SetTaken and SetStrangers

	sight   chan struct{} // closed once taken is known; nil: it is
	locks   map[string]*keyLock
	changed chan struct{} // a record changed since somebody last read from it
	queue   queue
	cut     cutter
}

type tombstone struct {
	uid int
	at  time.Time
}

// New loads every record from the store. devices returns what the host has
// now.
func New(ctx context.Context, store Store, devices func() []gpu.Device, now func() time.Time) (*Allocator, error) {
	a := &Allocator{
		store: store, devices: devices, now: now,
		records: map[string]container.Record{}, byID: map[string]string{}, gone: map[string]tombstone{},
		taken: map[string]string{}, cut: newCutter(), locks: map[string]*keyLock{}, changed: make(chan struct{}, 1),
	}
	all, err := store.Containers(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		a.put(r)
	}
	if err := a.loadQueue(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// put remembers a record; the caller holds mu or is alone.
func (a *Allocator) put(r container.Record) {
	if _, known := a.records[r.ID]; !known {
		a.order = nil
	}
	a.records[r.ID], a.listed = r, nil
	if r.ContainerID != "" {
		a.byID[r.ContainerID] = r.ID
	}
	a.tell()
}

// tell tells the reader of Changed.
func (a *Allocator) tell() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
	select {
	case a.cut.due <- struct{}{}:
	default:
	}
}

// Changed tells one reader that records, the queue or reservations changed, or
// devices became free, since it last read.
func (a *Allocator) Changed() <-chan struct{} { return a.changed }

// An Order is what a container is to be granted.
type Order struct {
	Account   account.Account
	Limits    limits.Limits
	Name      string
	Image     string
	Interface string
	Origin    string
	GPU       *gpu.Request // nil: none
	Admin     bool         // may name any device; the limits bind all the same
	Waits     bool
	Restart   container.RestartPolicy
	Wishes    container.Wishes
	Lasts     time.Duration                        // as container.Record has it
	AtStart   bool                                 // its devices come to it at each start
	Mounts    func(claim string) []container.Mount // the mounts of the claim with this id; nil: none
	Ports     []port.Ask                           // to publish at the host
	Policy    port.Policy                          // within which; only read where there are Ports
}

// Claim grants an order: it checks the name and the counts, chooses devices
// and stores the record as pending, all in one step; Flush puts it on the disk.
// Where cards must be cut first it does that, which takes seconds, and keeps
// what is made for the order. Errors are of kind
// problem.ErrConflict (the name is taken), ErrLimit, ErrDenied or
// ErrExhausted.
func (a *Allocator) Claim(ctx context.Context, o Order) (container.Record, []gpu.Device, error) {
	if o.GPU != nil {
		if err := a.lookAtCards(ctx); err != nil {
			return container.Record{}, nil, err
		}
	}
	for {
		r, devices, wait, err := a.claim(ctx, o)
		if wait == nil {
			return r, devices, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return container.Record{}, nil, err
		}
	}
}

// claim tries once. Where there would perhaps be a device when cards that are
// being cut now aren't any more, wait is closed then.
func (a *Allocator) claim(ctx context.Context, o Order) (r container.Record, devices []gpu.Device, wait <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, g, err := a.decide(o)
	if Waitable(err) {
		wait = a.inMotion()
	}
	if err == nil && len(g.plan.Steps) > 0 {
		r, g, err = a.make(ctx, o, r.ID, g.plan)
	}
	if err == nil {
		err = a.saveGrant(ctx, r, g.ticket)
	}
	if err != nil {
		return container.Record{}, nil, wait, err
	}
	return r, g.devices, nil, nil
}

// make cuts cards for an order. The caller holds mu, which isn't held
// meanwhile.
func (a *Allocator) make(ctx context.Context, o Order, id string, plan gpu.Plan) (container.Record, grant, error) {
	a.beginMaking(id, o.Account.UID, plan)
	a.mu.Unlock()
	failed := a.carry(ctx, plan, o.Name+" of "+o.Account.Name)
	a.mu.Lock()
	devices, err := a.endMaking(id, failed)
	if err == nil {
		err = a.checkOwner(o)
	}
	if err != nil {
		return container.Record{}, grant{}, err
	}
	g := grant{devices: devices}
	r, err := a.record(o, g)
	return r, g, err
}

// Suppose returns what Claim would grant now, and grants nothing. A device
// that would be made for it has no UUID.
func (a *Allocator) Suppose(o Order) (container.Record, []gpu.Device, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, g, err := a.decide(o)
	return r, g.devices, err
}

// Kinds returns what the host has of devices, and what of it the person of the
// order could have now. Until Sighted it is an error.
func (a *Allocator) Kinds(o Order) ([]gpu.Kind, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.sighted(); err != nil {
		return nil, err
	}
	return gpu.Kinds(a.pool(), o.Account.UID, o.quota(), a.now()), nil
}

// Advise returns what somebody should hear whose order was granted these
// devices, claimed or only supposed.
func (a *Allocator) Advise(o Order, devices []gpu.Device) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if note := gpu.Advise(a.pool(), o.Account.UID, devices, o.quota()); note != "" {
		return []string{note}
	}
	return nil
}

// decide chooses what an order is granted. The caller holds mu.
func (a *Allocator) decide(o Order) (container.Record, grant, error) {
	if err := a.checkOwner(o); err != nil {
		return container.Record{}, grant{}, err
	}
	var g grant
	if o.GPU != nil {
		err := a.sighted()
		if err != nil {
			return container.Record{}, g, err
		}
		wish := gpu.Ticket{UID: o.Account.UID, Login: o.Account.Name, Request: *o.GPU, Lasts: o.Lasts}
		if g, err = a.turn(wish, o.standing()); err != nil {
			return container.Record{}, g, err
		}
	}
	r, err := a.record(o, g)
	return r, g, err
}

// record is what an order becomes with what it is granted; the caller holds mu.
func (a *Allocator) record(o Order, g grant) (container.Record, error) {
	r := container.Record{
		Claim: gpu.Claim{
			ID: newID(), UID: o.Account.UID, Name: o.Name, State: gpu.Pending,
			Devices: grants(g.devices), CreatedAt: a.now().UTC(),
		},
		Login: o.Account.Name, Image: o.Image, Interface: o.Interface, Origin: o.Origin, Waits: o.Waits,
		Quota: container.QuotaRule{HoldAfterStop: HoldOf(o.Limits)}, Restart: container.Restart{Policy: o.Restart}, Wishes: &o.Wishes, Lasts: gpu.Shorter(o.Lasts, g.lasts),
	}
	if len(g.devices) > 0 {
		r.Since = r.CreatedAt
	}
	if o.AtStart && o.GPU != nil {
		r.AtStart, r.Asked = true, o.GPU.String()
	}
	if o.Mounts != nil {
		r.Mounts = o.Mounts(r.ID)
	}
	var err error
	if r.Ports, err = a.assignPorts(o); err != nil {
		return container.Record{}, err
	}
	return r, nil
}

// NameTaken is the code of the error that tells of a name its owner has given
// already.
const NameTaken = "CONTAINER_NAME_TAKEN"

// checkOwner checks the name and the number of the owner's containers.
func (a *Allocator) checkOwner(o Order) error {
	own := 0
	for _, r := range a.records {
		if r.UID != o.Account.UID {
			continue
		}
		own++
		if r.Name == o.Name {
			return &problem.Error{
				What: "Container " + o.Name + " not created",
				Why:  problem.Because(problem.ErrConflict, "you have a container of that name already"),
				Next: fmt.Sprintf("Open it with 'container open %s', remove it with 'container remove %s', or choose another name.", o.Name, o.Name),
				Code: NameTaken,
			}
		}
	}
	if limit := o.Limits.MaxContainers; !limit.Unlimited && own >= limit.Value {
		return &problem.Error{
			What: "Container " + o.Name + " not created",
			Why: problem.Because(problem.ErrLimit, fmt.Sprintf("you have %d containers, your limit is %d (max_containers_per_user: %s)",
				own, limit.Value, o.Limits.Source("max_containers_per_user"))),
			Next: "Remove one that you don't need: 'container list', then 'container remove NAME'.",
			Code: "CONTAINER_LIMIT",
		}
	}
	return nil
}

// QuotaOf returns the GPU quota within the limits.
func QuotaOf(l limits.Limits) gpu.Quota {
	source := map[string]string{}
	for _, key := range []string{"max_mig_instances", "max_gpus_per_container", "max_gpu_share", "allow_full_gpu"} {
		source[key] = l.Source(key).String()
	}
	return gpu.Quota{
		MaxDevices: l.MaxDevices, MaxPerContainer: l.MaxGPUsPerContainer,
		MaxShare: l.MaxGPUShare, AllowFull: l.AllowFullGPU, Source: source,
	}
}

func (o Order) standing() gpu.Standing {
	s := StandingOf(o.Limits)
	s.Quota = o.quota()
	return s
}

func (o Order) quota() gpu.Quota {
	q := QuotaOf(o.Limits)
	q.NameAny = o.Admin
	return q
}

// HoldOf returns how long a stopped container keeps its devices; negative
// means without end.
func HoldOf(l limits.Limits) time.Duration {
	if l.GPUHoldAfterStop.Unlimited {
		return -1
	}
	return l.GPUHoldAfterStop.Value
}

// pool is the host as one decision sees it: what is kept for a ticket is its
// owner's.
func (a *Allocator) pool() gpu.Pool {
	devices, claims := a.devices(), a.claims()
	pool := gpu.Pool{Devices: devices, Claims: claims, Taken: a.untouchable(devices), Cutting: a.cutting(claims)}
	if all := a.reservations(); len(all) > 0 {
		pool.Reserved = gpu.Keep(pool.Devices, all, a.now()).For(a.now())
	}
	return pool
}

// claims are what holds devices: records, what is kept for tickets, and what is
// being made; the caller holds mu.
func (a *Allocator) claims() []gpu.Claim {
	claims := make([]gpu.Claim, 0, len(a.records)+len(a.queue.tickets))
	for _, r := range a.records {
		claims = append(claims, r.Claim)
	}
	for _, t := range a.queue.tickets {
		if t.Granted() {
			claims = append(claims, gpu.Claim{ID: t.ID, UID: t.UID, State: gpu.Pending, Devices: t.Devices})
		}
	}
	for _, m := range a.cut.making {
		claims = append(claims, m.claim)
	}
	return claims
}

func grants(devices []gpu.Device) []gpu.Grant {
	out := make([]gpu.Grant, len(devices))
	for i, d := range devices {
		out[i] = gpu.Grant{UUID: d.UUID, Slot: d.Slot, Share: d.Share}
	}
	return out
}

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// save writes through to the store; memory changes only when that worked.
func (a *Allocator) save(ctx context.Context, r container.Record) error {
	if err := a.store.Save(ctx, r); err != nil {
		if errors.Is(err, problem.ErrConflict) {
			return fmt.Errorf("claim of %s: %w", r.Name, err)
		}
		return notStored(err)
	}
	a.put(r)
	return nil
}

func notStored(err error) error {
	return &problem.Error{
		What: "Claim not stored",
		Why:  problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "Nothing was granted. Tell your administrators that ds01 can't write its database.",
	}
}

// Flush returns once every change so far would outlive a power cut.
func (a *Allocator) Flush() error {
	if err := a.store.Flush(); err != nil {
		return notStored(err)
	}
	return nil
}

// Update changes one record in the store and in memory: change gets the
// record as it is. An unknown claim is of kind problem.ErrNotFound.
func (a *Allocator) Update(ctx context.Context, claim string, change func(*container.Record)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return fmt.Errorf("claim %s: %w", claim, problem.ErrNotFound)
	}
	was := r
	change(&r)
	if r.State == gpu.Released && was.State != gpu.Released {
		if err := a.ended(ctx, was, a.now()); err != nil {
			return err
		}
		r.Since = time.Time{}
	}
	return a.save(ctx, r)
}

// Acquire makes sure that the claim holds its devices and marks it running:
// devices that were given back are asked for again, and those that aren't granted
// any more are given back first, see gpu.Ailing, or refused where no others would do. Where they come to the
// container at each start these are the same ones if they are free, and else
// what the container's request may be granted.
// Cards are cut for them where they must be, as for Claim.
func (a *Allocator) Acquire(ctx context.Context, claim string, l limits.Limits) error {
	if err := a.lookAtCards(ctx); err != nil {
		return err
	}
	for {
		wait, err := a.acquire(ctx, claim, l)
		if wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return err
		}
	}
}

// acquire tries once; wait is as claim's.
func (a *Allocator) acquire(ctx context.Context, claim string, l limits.Limits) (wait <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return nil, fmt.Errorf("claim %s: %w", claim, problem.ErrNotFound)
	}
	if r.State == gpu.Running {
		return nil, nil
	}
	if r, err = a.withoutIll(ctx, r); err != nil {
		return nil, err
	}
	var g grant
	if r.State == gpu.Released && r.AsksAgain() {
		if g, err = a.again(r, StandingOf(l)); err != nil {
			if Waitable(err) {
				wait = a.inMotion()
			}
			return wait, err
		}
		if len(g.plan.Steps) > 0 {
			if r, g, err = a.makeAgain(ctx, r, g.plan); err != nil {
				return nil, err
			}
		}
		r.Devices, r.Since = grants(g.devices), a.now().UTC()
	}
	r.State, r.HeldUntil = gpu.Running, time.Time{}
	r.Quota.HoldAfterStop = HoldOf(l)
	return nil, a.saveGrant(ctx, r, g.ticket)
}

// withoutIll has a record that isn't running give back what it holds where some of
// that isn't granted any more: it asks again, where others would do. The caller
// holds mu.
func (a *Allocator) withoutIll(ctx context.Context, r container.Record) (container.Record, error) {
	ill := gpu.Ailing(a.devices(), []gpu.Claim{r.Claim})
	switch {
	case len(ill) == 0:
		return r, nil
	case !r.AtStart:
		d := ill[0].Device
		return r, &problem.Error{
			What: "Container " + r.Name + " not started", Code: "DEVICE_OUT_OF_SERVICE",
			Why:  problem.Because(problem.ErrConflict, fmt.Sprintf("device %s (%s), which it was made with, isn't granted any more: %s", d.Slot, d.UUID, d.Problem)),
			Next: "Make it anew to get another device, or wait until an administrator has put that one in order.",
		}
	}
	if err := a.ended(ctx, r, a.now()); err != nil {
		return r, err
	}
	r.State, r.HeldUntil, r.Since = gpu.Released, time.Time{}, time.Time{}
	return r, a.save(ctx, r)
}

// makeAgain cuts cards for a container that gave its devices back, and returns
// its record as it is then. The caller holds mu, which isn't held meanwhile.
func (a *Allocator) makeAgain(ctx context.Context, r container.Record, plan gpu.Plan) (container.Record, grant, error) {
	a.beginMaking(r.ID, r.UID, plan)
	a.mu.Unlock()
	failed := a.carry(ctx, plan, r.Name+" of "+r.Login)
	a.mu.Lock()
	devices, err := a.endMaking(r.ID, failed)
	now, ok := a.records[r.ID]
	if err == nil && (!ok || now.State != gpu.Released) {
		err = fmt.Errorf("claim %s: %w", r.ID, problem.ErrNotFound)
	}
	return now, grant{devices: devices}, err
}

// SupposeAcquire returns what Acquire would say to the devices of a record now,
// and changes nothing.
func (a *Allocator) SupposeAcquire(r container.Record, l limits.Limits) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reclaimable(r, l)
}

func (a *Allocator) reclaimable(r container.Record, l limits.Limits) error {
	if r.State != gpu.Released || !r.AsksAgain() {
		return nil
	}
	_, err := a.again(r, StandingOf(l))
	return err
}

// again grants devices to a container that gave its own back: what is kept for
// it, else the ones that it had, else what it may have of others. The caller
// holds mu.
func (a *Allocator) again(r container.Record, s gpu.Standing) (grant, error) {
	wish := wishOf(r)
	if len(wish.Exact) > 0 {
		return a.turn(wish, s)
	}
	if g, ok := a.redeem(&wish, s.Quota); ok {
		return g, nil
	}
	if same := wish; len(r.Devices) > 0 {
		same.Exact = uuidsOf(r.Devices)
		if g, err := a.turn(same, s); err == nil {
			return g, nil
		}
	}
	return a.turn(wish, s)
}

// wishOf is what the start of a container that gave its devices back asks for.
func wishOf(r container.Record) gpu.Ticket {
	t := gpu.Ticket{UID: r.UID, Login: r.Login, Claim: r.ID, Lasts: r.Lasts}
	if asked, err := gpu.ParseRequest(r.Asked); r.Asked != "" && err == nil {
		t.Request = asked
		return t
	}
	t.Exact, t.Request = uuidsOf(r.Devices), gpu.Request{Count: len(r.Devices)}
	return t
}

// Forget drops a record: its container is gone. Forgetting an unknown claim
// is no error.
func (a *Allocator) Forget(ctx context.Context, claim string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return nil
	}
	if err := a.ended(ctx, r, a.now()); err != nil {
		return err
	}
	if err := a.store.Delete(ctx, claim); err != nil {
		return err
	}
	delete(a.records, claim)
	a.order, a.listed = nil, nil
	a.tell()
	if r.ContainerID != "" {
		delete(a.byID, r.ContainerID)
		a.bury(r)
	}
	return nil
}

// mourning is how long the owner of a removed container is remembered, so
// that its last events still reach them.
const mourning = 10 * time.Minute

func (a *Allocator) bury(r container.Record) {
	now := a.now()
	maps.DeleteFunc(a.gone, func(_ string, t tombstone) bool { return now.Sub(t.at) > mourning })
	a.gone[r.ContainerID] = tombstone{r.UID, now}
}
