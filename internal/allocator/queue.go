package allocator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A QueueStore keeps the queue over restarts, and what its order depends on.
type QueueStore interface {
	Tickets(ctx context.Context) ([]gpu.Ticket, error)
	SaveTicket(ctx context.Context, t gpu.Ticket) error
	DeleteTicket(ctx context.Context, id string) error
	Uses(ctx context.Context, after time.Time) ([]gpu.Use, error)
	SaveUse(ctx context.Context, u gpu.Use) error
	Reservations(ctx context.Context) ([]gpu.Reservation, error)
	SaveReservation(ctx context.Context, r gpu.Reservation) error
	DeleteReservation(ctx context.Context, id string) error
	Told(ctx context.Context, now time.Time) (map[string]gpu.Told, error)
	SaveTold(ctx context.Context, notice string, t gpu.Told) error
}

// A Site is what the queue asks of the rest of the host. Its functions are
// called without any lock held.
type Site struct {
	// Standing returns what a person brings to the queue; an error means that
	// they are granted nothing now. Its Hours are filled in here.
	Standing func(uid int) (gpu.Standing, error)
	// Reserved returns the reservations of the limits file.
	Reserved func() []gpu.Reservation
	// Hold returns how long what is granted is kept for a ticket's owner.
	Hold func() time.Duration
}

// Codes of refusals that a wait may help against.
const (
	QueueAhead   = "GPU_QUEUE_AHEAD"
	NotAvailable = "NO_GPU_AVAILABLE"
)

// Waitable reports whether a refusal is for want of devices, so that a place
// in the queue helps.
func Waitable(err error) bool {
	p, ok := errors.AsType[*problem.Error](err)
	return ok && errors.Is(err, problem.ErrExhausted) && (p.Code == QueueAhead || p.Code == NotAvailable)
}

// StandingOf returns what a person with these limits brings to the queue.
func StandingOf(l limits.Limits) gpu.Standing {
	s := gpu.Standing{Quota: QuotaOf(l), Priority: l.Priority}
	if l.Enforced("max_runtime") && !l.MaxRuntime.Unlimited && !l.MaxExtension.Unlimited {
		s.Runtime, s.Extension = l.MaxRuntime.Value+l.MaxExtension.Value, l.MaxExtension.Value
	}
	return s
}

// A queue is the part of an Allocator that waits. The Allocator's mu guards it.
type queue struct {
	site      Site
	tickets   map[string]gpu.Ticket
	standings map[int]gpu.Standing // as last looked up
	tallies   map[int]gpu.Tally
	seen      []time.Duration           // how long devices were held, sorted
	shares    map[quantity.GPUShare]int // how often so much was
	made      []gpu.Reservation
	reserved  []gpu.Reservation // of the limits file, as last looked up
	moved     chan struct{}     // closed, and a new one made, when a ticket changed
	estimates estimates
	told      map[string]gpu.Told // by the notice's key: whom it reached, of those that aren't over
}

type estimates struct {
	at    time.Time
	times map[string]time.Time
}

// remembered is how long past uses count, and mostSeen how many of them say
// how long one lasts.
const (
	remembered = 8 * gpu.HalfLife
	mostSeen   = 1000
)

// loadQueue reads the queue from the store.
func (a *Allocator) loadQueue(ctx context.Context) error {
	a.queue = queue{
		site: Site{
			Standing: func(int) (gpu.Standing, error) { return gpu.Standing{}, problem.ErrUnavailable },
			Reserved: func() []gpu.Reservation { return nil },
			Hold:     func() time.Duration { return 10 * time.Minute },
		},
		tickets: map[string]gpu.Ticket{}, standings: map[int]gpu.Standing{}, tallies: map[int]gpu.Tally{},
		shares: map[quantity.GPUShare]int{}, moved: make(chan struct{}),
	}
	tickets, err := a.store.Tickets(ctx)
	if err != nil {
		return err
	}
	for _, t := range tickets {
		a.queue.tickets[t.ID] = t
	}
	uses, err := a.store.Uses(ctx, a.now().Add(-remembered))
	if err != nil {
		return err
	}
	for _, u := range uses {
		a.queue.count(u)
	}
	if a.queue.made, err = a.store.Reservations(ctx); err != nil {
		return err
	}
	a.queue.told, err = a.store.Told(ctx, a.now())
	return err
}

// Govern tells the allocator what the queue asks of the rest of the host, and
// is called before anybody asks for anything.
func (a *Allocator) Govern(s Site) {
	a.mu.Lock()
	a.queue.site = s
	a.mu.Unlock()
	a.look()
}

// count adds a use that has ended to what is known.
func (q *queue) count(u gpu.Use) {
	q.tallies[u.UID] = q.tallies[u.UID].Add(u)
	q.shares[u.Share]++
	if len(q.seen) >= mostSeen { // any one may go
		i := int(u.Until.UnixNano()/1e9) % len(q.seen)
		q.seen = slices.Delete(q.seen, max(i, 0), max(i, 0)+1)
	}
	last := u.Until.Sub(u.From)
	at, _ := slices.BinarySearch(q.seen, last)
	q.seen = slices.Insert(q.seen, at, last)
}

// Uses returns how often devices of which share together were held and given
// back, as far as that is remembered.
func (a *Allocator) Uses() map[quantity.GPUShare]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.queue.shares)
}

// stir wakes who waits for a ticket to move; the caller holds mu.
func (q *queue) stir() {
	close(q.moved)
	q.moved = make(chan struct{})
	q.estimates = estimates{}
}

// A Wish is what somebody wants to wait for.
type Wish struct {
	Account account.Account
	Limits  limits.Limits
	Request gpu.Request
	Lasts   time.Duration // as gpu.Ticket has it
	Claim   string        // of a container that gave its devices back and is to be started; then Request isn't read
}

// mostTickets is how many places one person may have.
const mostTickets = 4

// Join takes a place in the queue, and grants at once what can be. What its
// owner couldn't have if nobody else held anything is refused as Claim does.
func (a *Allocator) Join(ctx context.Context, w Wish) (gpu.Ticket, error) {
	a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	t := gpu.Ticket{ID: newID(), UID: w.Account.UID, Login: w.Account.Name, Request: w.Request, Lasts: w.Lasts, JoinedAt: a.now().UTC()}
	if err := a.mayJoin(&t, w); err != nil {
		return gpu.Ticket{}, err
	}
	a.queue.standings[t.UID] = StandingOf(w.Limits)
	if err := a.saveTicket(ctx, t); err != nil {
		return gpu.Ticket{}, err
	}
	if err := a.grantNext(ctx); err != nil {
		return gpu.Ticket{}, err
	}
	return a.queue.tickets[t.ID], nil
}

// mayJoin checks a wish and makes the ticket one for its container.
func (a *Allocator) mayJoin(t *gpu.Ticket, w Wish) error {
	own := 0
	for _, other := range a.queue.tickets {
		if other.UID == t.UID {
			own++
		}
		if w.Claim != "" && other.Claim == w.Claim {
			return notQueued(problem.ErrConflict, "the container has a place in the queue already", "'ds01 gpu queue position' shows it.")
		}
	}
	if own >= mostTickets {
		return notQueued(problem.ErrLimit, fmt.Sprintf("you have %d places in the queue, and nobody may have more", own), "Leave one: 'ds01 gpu queue leave'.")
	}
	if w.Claim != "" {
		r, ok := a.records[w.Claim]
		if !ok || r.UID != t.UID || !r.AsksAgain() || r.State != gpu.Released {
			return notQueued(problem.ErrConflict, "the container waits for no device", "Start it: 'ds01 container start NAME'.")
		}
		wish := wishOf(r)
		t.Claim, t.Exact, t.Request, t.Lasts = wish.Claim, wish.Exact, wish.Request, wish.Lasts
	}
	return a.possible(t, QuotaOf(w.Limits))
}

// possible refuses what a ticket's owner can't have whoever else holds what.
func (a *Allocator) possible(t *gpu.Ticket, q gpu.Quota) error {
	pool := a.pool()
	_, err := a.choose(pool.Alone(t.UID), t, q)
	return err
}

// choose asks for what a ticket is for.
func (a *Allocator) choose(pool gpu.Pool, t *gpu.Ticket, q gpu.Quota) (grant, error) {
	if len(t.Exact) > 0 {
		devices, err := gpu.Reclaim(pool, t.UID, t.Exact, q)
		return grant{devices: devices}, err
	}
	plan, err := gpu.Arrange(pool, t.UID, t.Request, q, a.now())
	if err != nil {
		return grant{}, err
	}
	return grant{devices: pool.Picked(plan), plan: plan}, nil
}

func notQueued(kind error, why, next string) error {
	return &problem.Error{What: "No place taken in the queue", Why: problem.Because(kind, why), Next: next}
}

func uuidsOf(grants []gpu.Grant) []string {
	uuids := make([]string, len(grants))
	for i, g := range grants {
		uuids[i] = g.UUID
	}
	return uuids
}

// saveTicket writes through to the store; the caller holds mu.
func (a *Allocator) saveTicket(ctx context.Context, t gpu.Ticket) error {
	if err := a.store.SaveTicket(ctx, t); err != nil {
		return notStored(err)
	}
	a.queue.tickets[t.ID] = t
	a.queue.stir()
	a.tell()
	return nil
}

// PutOff keeps what is kept for somebody for longer: the clock has jumped by so
// much, and what it says until when would come too early, or too late.
func (a *Allocator) PutOff(ctx context.Context, by time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.sortedTickets() {
		if !t.Granted() {
			continue
		}
		t.Until = t.Until.Add(by)
		if err := a.saveTicket(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// dropTicket forgets a ticket; the caller holds mu.
func (a *Allocator) dropTicket(ctx context.Context, id string) error {
	if err := a.store.DeleteTicket(ctx, id); err != nil {
		return notStored(err)
	}
	delete(a.queue.tickets, id)
	a.queue.stir()
	a.tell()
	return nil
}

// Leave gives up uid's place, with what is kept for it. Others' places are of
// kind problem.ErrNotFound.
func (a *Allocator) Leave(ctx context.Context, uid int, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.queue.tickets[id]; !ok || t.UID != uid {
		return noPlace(id)
	}
	return a.dropTicket(ctx, id)
}

func noPlace(id string) error {
	return &problem.Error{
		What: "No such place in the queue: " + id, Why: problem.Because(problem.ErrNotFound, "you have none of that id"),
		Next: "'ds01 gpu queue position' shows yours.",
	}
}

// Ticket returns uid's ticket of that id.
func (a *Allocator) Ticket(uid int, id string) (gpu.Ticket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.queue.tickets[id]
	if !ok || t.UID != uid {
		return gpu.Ticket{}, noPlace(id)
	}
	return t, nil
}

// AwaitGrant returns uid's ticket once something is kept for it, or as it is
// when ctx ends.
func (a *Allocator) AwaitGrant(ctx context.Context, uid int, id string) (gpu.Ticket, error) {
	for {
		a.mu.Lock()
		moved := a.queue.moved
		a.mu.Unlock()
		t, err := a.Ticket(uid, id)
		if err != nil || t.Granted() {
			return t, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return t, nil
		}
	}
}

// Advance goes through the queue: what was kept for too long is given back, and
// what is free is granted to who is next. It returns when the next of these
// times is over, or its end is near enough to be told; zero means never.
func (a *Allocator) Advance(ctx context.Context) (next time.Time, err error) {
	a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.expire(ctx); err != nil {
		return time.Time{}, err
	}
	if err := a.grantNext(ctx); err != nil {
		return time.Time{}, err
	}
	for _, t := range a.queue.tickets {
		if !t.Granted() {
			continue
		}
		for _, due := range []time.Time{t.Until.Add(-LastCall), t.Until} {
			if due.After(a.now()) && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next, nil
}

// look finds out what the queue depends on outside, without holding mu.
func (a *Allocator) look() {
	a.mu.Lock()
	site, people := a.queue.site, map[int]bool{}
	for _, t := range a.queue.tickets {
		people[t.UID] = true
	}
	if len(people) > 0 {
		for _, r := range a.records {
			people[r.UID] = true // when they are done matters
		}
	}
	a.mu.Unlock()
	standings := map[int]gpu.Standing{}
	for uid := range people {
		if s, err := site.Standing(uid); err == nil { // without one nothing is granted to them
			standings[uid] = s
		}
	}
	reserved := site.Reserved()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.standings, a.queue.reserved = standings, reserved
}

// expire gives back what was kept for too long, and forgets places for
// containers that wait no more; the caller holds mu.
func (a *Allocator) expire(ctx context.Context) error {
	for id, t := range a.queue.tickets {
		over := t.Granted() && !a.now().Before(t.Until)
		if t.Claim != "" {
			r, ok := a.records[t.Claim]
			over = over || !ok || r.State != gpu.Released
		}
		if over {
			if err := a.dropTicket(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// grantNext grants what can be granted; the caller holds mu.
func (a *Allocator) grantNext(ctx context.Context) error {
	q := a.snapshot()
	if a.sight != nil || len(q.Waiting) == 0 {
		return nil
	}
	for _, p := range gpu.Pass(q, a.now()) {
		if p.Granted == nil || len(p.Plan.Steps) > 0 { // Run makes it
			continue
		}
		t := a.queue.tickets[p.Ticket.ID]
		t.Devices, t.Until = grants(p.Granted), a.now().Add(a.queue.site.Hold()).UTC()
		if err := a.saveTicket(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is the queue as one look sees it, of those whose standing is known;
// the caller holds mu, and may keep it without.
func (a *Allocator) snapshot() gpu.Queue {
	now := a.now()
	q := gpu.Queue{Pool: a.pool(), Reservations: a.reservations(), People: maps.Clone(a.queue.standings), Ends: map[string]time.Time{}}
	for _, t := range a.queue.tickets {
		if _, known := q.People[t.UID]; known && !t.Granted() {
			q.Waiting = append(q.Waiting, t)
		}
	}
	hours := a.hours(now)
	for uid, s := range q.People {
		s.Hours = hours[uid]
		q.People[uid] = s
	}
	for _, r := range a.records {
		if within := q.People[r.UID].Within(r.Lasts); r.State == gpu.Running && within > 0 && !r.Since.IsZero() {
			q.Ends[r.ID] = r.Since.Add(within)
		}
	}
	return q
}

// hours returns what everybody used lately, what they hold now included; the
// caller holds mu.
func (a *Allocator) hours(now time.Time) map[int]float64 {
	tallies := maps.Clone(a.queue.tallies)
	for _, r := range a.records {
		if u, ok := useOf(r, now); ok {
			tallies[r.UID] = tallies[r.UID].Add(u)
		}
	}
	all := make(map[int]float64, len(tallies))
	for uid, t := range tallies {
		all[uid] = t.Hours(now)
	}
	return all
}

// reservations returns those of the limits file and those made by command; the
// caller holds mu.
func (a *Allocator) reservations() []gpu.Reservation {
	return slices.Concat(a.queue.reserved, a.queue.made)
}

func (a *Allocator) sortedTickets() []gpu.Ticket {
	return slices.SortedFunc(maps.Values(a.queue.tickets), func(x, y gpu.Ticket) int {
		return cmp.Or(x.JoinedAt.Compare(y.JoinedAt), strings.Compare(x.ID, y.ID))
	})
}

// A Standing in the queue, as it is shown.
type Standing struct {
	gpu.Place
	Position int       // among those who wait, from 1; 0: something is kept for it
	Begins   time.Time // when it will probably have its turn; zero: nobody knows
	Making   string    // what is being made for it, "2g.20gb on card 1"; "": nothing
}

// estimateFor is how long an estimate is good enough.
const estimateFor = 5 * time.Second

// Queue returns every place in the queue: first those for whom something is
// kept, then those who wait, in their order.
func (a *Allocator) Queue() []Standing {
	a.look()
	a.mu.Lock()
	q, now, tickets, known := a.snapshot(), a.now(), a.sortedTickets(), a.queue.estimates
	if now.Sub(known.at) > estimateFor || known.at.After(now) {
		known = estimates{}
	}
	expected, lasts := a.expectations(q, now)
	making := map[string]string{}
	for id, m := range a.cut.making {
		making[id] = m.plan.Cuts()
	}
	a.mu.Unlock()

	if known.times == nil {
		known = estimates{now, gpu.Estimate(q, expected, lasts, now)}
		a.mu.Lock()
		a.queue.estimates = known
		a.mu.Unlock()
	}
	var all []Standing
	seen := map[string]bool{}
	for _, t := range tickets {
		if t.Granted() {
			all, seen[t.ID] = append(all, Standing{Place: gpu.Place{Ticket: t, Reason: "had its turn"}}), true
		}
	}
	position := 0
	for _, p := range gpu.Pass(q, now) {
		position++
		made := making[p.Ticket.ID]
		if made != "" {
			p.Why, p.Limited = "it is being made", false
		}
		all, seen[p.Ticket.ID] = append(all, Standing{Place: p, Position: position, Begins: known.times[p.Ticket.ID], Making: made}), true
	}
	for _, t := range tickets {
		if !seen[t.ID] {
			position++
			all = append(all, Standing{Position: position, Place: gpu.Place{Ticket: t, Reason: "limits unknown", Why: "its owner's limits can't be looked up", Limited: true}})
		}
	}
	return all
}

// expectations says when what is held is probably given back, and how long
// what each ticket is for lasts; the caller holds mu.
func (a *Allocator) expectations(q gpu.Queue, now time.Time) (ends map[string]time.Time, lasts map[string]time.Duration) {
	ends, lasts = map[string]time.Time{}, map[string]time.Duration{}
	for _, r := range a.records {
		switch elapsed := now.Sub(r.Since); {
		case r.State == gpu.Released || len(r.Devices) == 0:
		case !r.HeldUntil.IsZero():
			ends[r.ID] = r.HeldUntil
		case !r.Since.IsZero():
			if rest, ok := gpu.Expect(elapsed, a.queue.seen); ok {
				ends[r.ID] = now.Add(rest)
			}
			if usual := q.People[r.UID].Usually(r.Lasts); usual > 0 && (ends[r.ID].IsZero() || r.Since.Add(usual).Before(ends[r.ID])) {
				ends[r.ID] = r.Since.Add(usual)
			}
		}
	}
	usual, known := gpu.Expect(0, a.queue.seen)
	for _, t := range a.queue.tickets {
		last := q.People[t.UID].Usually(t.Lasts)
		if known && (last == 0 || usual < last) {
			last = usual
		}
		if lasts[t.ID] = last; t.Granted() && last > 0 {
			ends[t.ID] = now.Add(last)
		}
	}
	return ends, lasts
}

// useOf is what a record holds as a use until now.
func useOf(r container.Record, now time.Time) (gpu.Use, bool) {
	if r.State == gpu.Released || len(r.Devices) == 0 || r.Since.IsZero() {
		return gpu.Use{}, false
	}
	u := gpu.Use{Claim: r.ID, UID: r.UID, From: r.Since, Until: now}
	for _, d := range r.Devices {
		u.Share += d.Share
	}
	return u, true
}
