package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A Ticket is a person's place in the queue for devices.
type Ticket struct {
	ID       string // 16 hex digits
	UID      int
	Login    string
	Request  Request
	Exact    []string // UUIDs: exactly these, for a container that had them; then Request says how many
	Claim    string   // the container that is to be started with them; "": one that is still to be made
	JoinedAt time.Time
	Lasts    time.Duration // what it is for ends within this time, its owner declares; 0: they don't say

	Devices []Grant   // what is kept for the person; empty: the ticket waits
	Until   time.Time // how long it is kept
}

// Granted reports whether devices are kept for the ticket's owner.
func (t *Ticket) Granted() bool { return len(t.Devices) > 0 }

// A Standing is what a person brings to the queue.
type Standing struct {
	Quota     Quota
	Priority  int           // higher goes first
	Hours     float64       // GPU-hours used lately, see Tally
	Runtime   time.Duration // their containers end within this time, something sees to it; 0: who knows
	Extension time.Duration // what of Runtime they have only if they ask for it
}

// Within returns the time within which a container ends for certain whose owner
// has declared this one, or none; 0: who knows.
func (s Standing) Within(declared time.Duration) time.Duration { return Shorter(s.Runtime, declared) }

// Usually returns the time within which it ends if it isn't put off.
func (s Standing) Usually(declared time.Duration) time.Duration {
	return Shorter(s.Runtime-s.Extension, declared)
}

// Shorter returns the shorter of two times of which 0 says nothing.
func Shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// A Queue is everything that one look at the queue depends on. The order of
// its parts doesn't matter.
type Queue struct {
	Pool         Pool // claims are those of containers, and what is kept for tickets
	Waiting      []Ticket
	People       map[int]Standing
	Reservations []Reservation
	Ends         map[string]time.Time // by claim: when its devices are free at the latest; absent: who knows
}

// Patience is how long somebody waits at most behind others for reasons other
// than their turn: from then on only reservations and those who joined before
// them go first. New ones can't push them back any more, so nobody starves.
const Patience = 24 * time.Hour

// A Place is where a ticket stands, and why.
type Place struct {
	Ticket  Ticket
	Reason  string   // why it stands where it does
	Granted []Device // what it gets now; nil: it waits
	Plan    Plan     // what must be done for that first, if it has steps
	Why     string   // why it waits; "" when it is granted
	Limited bool     // it waits for its own limit and keeps nobody up
}

// A rank is a ticket with what its place depends on.
type rank struct {
	ticket   *Ticket
	asks     string // its request, in words
	reserved *Reservation
	patient  bool
	priority int
	hours    float64 // whole ones: who used about as much as another waited the longer
	standing Standing
}

// Order returns the waiting tickets in the order of the queue, with the reason
// for each place: whose reservation holds; then who has waited for Patience;
// then by priority; then who used fewer whole GPU-hours lately; then who
// joined first. The same tickets come in the same order.
func Order(q Queue, now time.Time) []Place {
	ranks := order(q, Keep(q.Pool.reservable(), q.Reservations, now), now)
	places := make([]Place, len(ranks))
	for i := range ranks {
		places[i] = Place{Ticket: *ranks[i].ticket, Reason: ranks[i].reason()}
	}
	return places
}

func order(q Queue, k Keeping, now time.Time) []rank {
	reserved := map[int]*Reservation{}
	for i := range q.Reservations {
		r := &q.Reservations[i]
		if r.Running(now) && (reserved[r.UID] == nil || r.before(reserved[r.UID]) < 0) && k.holdsSome(r, now) {
			reserved[r.UID] = r
		}
	}
	ranks := make([]rank, 0, len(q.Waiting))
	for i := range q.Waiting {
		t := &q.Waiting[i]
		s := q.People[t.UID]
		ranks = append(ranks, rank{
			ticket: t, asks: t.Request.String(), reserved: reserved[t.UID], patient: now.Sub(t.JoinedAt) >= Patience,
			priority: s.Priority, hours: math.Floor(s.Hours), standing: s,
		})
	}
	slices.SortFunc(ranks, func(a, b rank) int { return a.compare(&b) })
	return ranks
}

// holdsSome reports whether the reservation is the one that holds on any device.
func (k Keeping) holdsSome(r *Reservation, now time.Time) bool {
	for uuid, all := range k.devices {
		if slices.ContainsFunc(all, func(o *Reservation) bool { return o.UID == r.UID }) && k.Own(uuid, r.UID, now) != nil {
			return true
		}
	}
	return false
}

func (r *rank) compare(o *rank) int {
	first := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	age := cmp.Or(r.ticket.JoinedAt.Compare(o.ticket.JoinedAt), cmp.Compare(r.ticket.ID, o.ticket.ID))
	if c := cmp.Or(first(r.reserved != nil, o.reserved != nil), first(r.patient, o.patient)); c != 0 {
		return c
	}
	if r.patient { // both are
		return age
	}
	return cmp.Or(cmp.Compare(o.priority, r.priority), cmp.Compare(r.hours, o.hours), age)
}

func (r *rank) reason() string {
	joined := r.ticket.JoinedAt.UTC().Format(time.RFC3339)
	switch {
	case r.reserved != nil && r.reserved.Until.IsZero():
		return "has a reservation"
	case r.reserved != nil:
		return "has a reservation until " + r.reserved.Until.UTC().Format(time.RFC3339)
	case r.patient:
		return fmt.Sprintf("has waited for %s, since %s", quantity.FormatDuration(Patience), joined)
	}
	return fmt.Sprintf("priority %d, %.0f GPU-hours used lately, since %s", r.priority, r.hours, joined)
}
