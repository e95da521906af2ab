package allocator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A grant is what somebody who asks now is given.
type grant struct {
	devices []gpu.Device
	plan    gpu.Plan      // what must be done for them first, if it has steps
	ticket  string        // that the devices were kept for; "": they were free
	lasts   time.Duration // as the ticket has it
}

// turn grants what is asked for now: what is kept for its owner, or what is
// free and nobody who waits goes before, or what gpu.Trial says. t is a ticket
// that was never stored; the caller holds mu.
func (a *Allocator) turn(t gpu.Ticket, s gpu.Standing) (grant, error) {
	if g, ok := a.redeem(&t, s.Quota); ok {
		return g, nil
	}
	pool := a.pool()
	if devices := gpu.Trial(pool, t.Request, s.Quota); len(devices) > 0 {
		return grant{devices: devices}, nil
	}
	g, err := a.choose(pool, &t, s.Quota)
	q := a.snapshot()
	if Waitable(err) && len(q.Waiting) > 0 {
		err = withPosition(err, gpu.Order(a.joinedBy(q, t, s), a.now()))
	}
	if err != nil {
		return grant{}, err
	}
	if len(q.Waiting) == 0 && len(q.Reservations) == 0 {
		return g, nil
	}
	for i, p := range gpu.Pass(a.joinedBy(q, t, s), a.now()) {
		switch {
		case p.Ticket.ID != newcomer:
		case p.Granted != nil:
			return grant{devices: p.Granted, plan: p.Plan}, nil
		default:
			return grant{}, notItsTurn(i, p)
		}
	}
	return grant{}, fmt.Errorf("no place in the queue: %w", problem.ErrUnavailable) // there is one for every ticket
}

// newcomer is the id of who has no ticket: behind those of the same moment.
const newcomer = "~"

// joinedBy is the queue with somebody more in it.
func (a *Allocator) joinedBy(q gpu.Queue, t gpu.Ticket, s gpu.Standing) gpu.Queue {
	s.Hours = a.hours(a.now())[t.UID]
	q.People[t.UID] = s
	t.ID, t.JoinedAt = newcomer, a.now()
	q.Waiting = append(q.Waiting, t)
	return q
}

// withPosition says in a refusal for want of devices where in the queue
// somebody would stand.
func withPosition(err error, places []gpu.Place) error {
	p, ok := errors.AsType[*problem.Error](err)
	at := slices.IndexFunc(places, func(p gpu.Place) bool { return p.Ticket.ID == newcomer })
	if !ok || at < 0 {
		return err
	}
	return &problem.Error{
		What: p.What, Why: problem.Because(problem.ErrExhausted, fmt.Sprintf("%s; you would be number %d in the queue", p.Why, at+1)), Next: p.Next, Code: p.Code,
	}
}

// redeem grants what is kept for the owner, where that meets what they ask for.
func (a *Allocator) redeem(t *gpu.Ticket, quota gpu.Quota) (grant, bool) {
	for _, kept := range a.sortedTickets() {
		if kept.UID != t.UID || kept.Claim != t.Claim || !kept.Granted() || t.Request.All && !kept.Request.All {
			continue
		}
		pool := a.pool()
		mine := uuidsOf(kept.Devices)
		pool.Devices = slices.DeleteFunc(slices.Clone(pool.Devices), func(d gpu.Device) bool { return !slices.Contains(mine, d.UUID) })
		pool.Claims = slices.DeleteFunc(pool.Claims, func(c gpu.Claim) bool { return c.ID == kept.ID })
		pool.Cutting = nil
		if g, err := a.choose(pool, t, quota); err == nil {
			g.ticket, g.lasts = kept.ID, kept.Lasts
			return g, true
		}
	}
	return grant{}, false
}

// notItsTurn refuses what would be free, but not for who asks.
func notItsTurn(ahead int, p gpu.Place) error {
	why := "the free devices are reserved for others, now or soon"
	if ahead > 0 {
		why = fmt.Sprintf("others wait for the free devices or have them reserved; you would be number %d in the queue", ahead+1)
	}
	if p.Limited {
		why += ": " + p.Why
	}
	return &problem.Error{
		What: "GPU not granted", Why: problem.Because(problem.ErrExhausted, why),
		Next: "Take a place with 'ds01 gpu queue join', or wait with --wait; 'ds01 gpu queue' shows who is ahead, 'ds01 gpu reservations' what is reserved.",
		Code: QueueAhead,
	}
}

// saveGrant stores a record that was granted devices, and removes the ticket
// they were kept for in the same step; the caller holds mu.
func (a *Allocator) saveGrant(ctx context.Context, r container.Record, ticket string) error {
	if ticket == "" {
		return a.save(ctx, r)
	}
	if err := a.store.Redeem(ctx, r, ticket); err != nil {
		return notStored(err)
	}
	delete(a.queue.tickets, ticket)
	a.queue.stir()
	a.put(r)
	return nil
}

// ended notes that a record no longer holds its devices. It is written before
// the record: a crash between the two is made good by the next time.
func (a *Allocator) ended(ctx context.Context, was container.Record, now time.Time) error {
	u, ok := useOf(was, now)
	if !ok || !u.From.Before(u.Until) {
		return nil
	}
	if err := a.store.SaveUse(ctx, u); err != nil {
		return notStored(err)
	}
	a.queue.count(u)
	return nil
}

// Warnings returns who holds what is reserved for somebody else, soon or by
// now.
func (a *Allocator) Warnings() []gpu.Warning {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reservedButHeld()
}

// reservedButHeld is Warnings; the caller holds mu.
func (a *Allocator) reservedButHeld() []gpu.Warning {
	all := a.reservations()
	if len(all) == 0 {
		return nil
	}
	pool, now := a.pool(), a.now()
	return gpu.Keep(pool.Devices, all, now).Warnings(pool.Claims, now)
}

// Reservations returns those that aren't over: of the limits file and made by
// command.
func (a *Allocator) Reservations() []gpu.Reservation {
	a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(a.reservations(), func(r gpu.Reservation) bool { return r.Over(a.now()) })
}

// Reserve stores a reservation. One that covers no device of the host, ends
// before it begins or is over is of kind problem.ErrInvalid; one that another
// person's overlaps is of kind problem.ErrConflict and says when there is
// none.
func (a *Allocator) Reserve(ctx context.Context, r gpu.Reservation) (gpu.Reservation, error) {
	a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	r.ID = newID()
	if err := a.reservable(r); err != nil {
		return gpu.Reservation{}, err
	}
	if err := a.store.SaveReservation(ctx, r); err != nil {
		return gpu.Reservation{}, notStored(err)
	}
	a.queue.made = append(a.queue.made, r)
	a.tell()
	return r, nil
}

func (a *Allocator) reservable(r gpu.Reservation) error {
	refuse := func(kind error, why, next string) error {
		return &problem.Error{What: "Nothing reserved for " + r.Login, Why: problem.Because(kind, why), Next: next}
	}
	var covered []gpu.Device
	for _, name := range r.Devices {
		one := gpu.Reservation{Devices: []string{name}}
		before := len(covered)
		for _, d := range a.devices() {
			if one.Covers(&d) {
				covered = append(covered, d)
			}
		}
		if len(covered) == before {
			return refuse(problem.ErrInvalid, "this host has no device "+name, "'ds01 gpu list' shows their slots.")
		}
	}
	switch {
	case len(covered) == 0:
		return refuse(problem.ErrInvalid, "no device is named", "Name slots with --devices 0,1.2.")
	case !r.Until.IsZero() && !r.From.Before(r.Until):
		return refuse(problem.ErrInvalid, "it ends before it begins", "Give an end after the beginning.")
	case r.Over(a.now()):
		return refuse(problem.ErrInvalid, "it is over already", "Give an end in the future.")
	}
	clash, next := gpu.Clash(covered, a.reservations(), r.UID, r.From, r.Until)
	if clash == nil {
		return nil
	}
	end := "without end"
	if !clash.Until.IsZero() {
		end = "until " + clash.Until.UTC().Format(time.RFC3339)
	}
	alternative := "Choose other devices: 'ds01 gpu reservations' shows what is reserved."
	if !next.IsZero() {
		alternative = "The devices are free of reservations for as long from " + next.UTC().Format(time.RFC3339) + "; or choose others ('ds01 gpu reservations')."
	}
	return refuse(problem.ErrConflict, fmt.Sprintf("%v are reserved for %s from %s %s (%s)",
		clash.Devices, clash.Login, clash.From.UTC().Format(time.RFC3339), end, clash.Source), alternative)
}

// Unreserve removes a reservation that was made by command.
func (a *Allocator) Unreserve(ctx context.Context, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.queue.made, func(r gpu.Reservation) bool { return r.ID == id })
	if i < 0 {
		return &problem.Error{
			What: "No reservation " + id, Why: problem.Because(problem.ErrNotFound, "none was made by command with that id"),
			Next: "'ds01 gpu reservations' shows them; those of the limits file are edited there.",
		}
	}
	if err := a.store.DeleteReservation(ctx, id); err != nil {
		return notStored(err)
	}
	a.queue.made = slices.Delete(a.queue.made, i, i+1)
	a.tell()
	return nil
}
