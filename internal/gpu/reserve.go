package gpu

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// A Reservation keeps devices for one person from one moment to another.
type Reservation struct {
	ID      string // "" for one of the limits file
	UID     int
	Login   string
	Devices []string // UUIDs, slots, or indices of cards, which stand for all their instances
	From    time.Time
	Until   time.Time // zero: without end
	Reason  string
	Source  string // where it was made: "alice, ds01 gpu reserve", or the line of the limits file
}

// Notice is how long before a reservation begins its devices are no longer
// given to those of whom nobody knows when they are done, and how long before
// that moment those who hold them are told.
const Notice = 24 * time.Hour

// Covers reports whether the device is one of those reserved.
func (r *Reservation) Covers(d *Device) bool {
	for _, name := range r.Devices {
		if name == d.UUID || name == d.Slot || name == strconv.Itoa(d.Card) {
			return true
		}
	}
	return false
}

// Running reports whether the reservation holds at now.
func (r *Reservation) Running(now time.Time) bool {
	return !now.Before(r.From) && !r.Over(now)
}

// Over reports whether the reservation has ended.
func (r *Reservation) Over(now time.Time) bool {
	return !r.Until.IsZero() && !now.Before(r.Until)
}

// keeps reports whether the reservation keeps its devices from a use that
// begins at now and ends at until. A use of which nobody knows the end, the
// zero time, may begin until Notice before the reservation does: to keep
// devices idle for longer would waste them, and whoever holds one then is told
// in time.
func (r *Reservation) keeps(now, until time.Time) bool {
	if r.Over(now) {
		return false
	}
	if until.IsZero() {
		until = now.Add(Notice)
	}
	return until.After(r.From)
}

// before orders reservations: of two for one device at one time, the one that
// begins first holds, then the one that is longer known by its name.
func (r *Reservation) before(o *Reservation) int {
	return cmp.Or(r.From.Compare(o.From), cmp.Compare(r.Login, o.Login), cmp.Compare(r.ID, o.ID))
}

// overlaps reports whether the two hold at one time.
func (r *Reservation) overlaps(from, until time.Time) bool {
	return (r.Until.IsZero() || r.Until.After(from)) && (until.IsZero() || until.After(r.From))
}

// A Keeping says for whom devices are kept: the reservations that matter at
// one moment.
type Keeping struct {
	devices map[string][]*Reservation // by UUID, in order
	people  map[int]bool              // who has something reserved
}

// Keep works out who has which device reserved, of the reservations that
// aren't over at now.
func Keep(devices []Device, all []Reservation, now time.Time) Keeping {
	k := Keeping{}
	if len(all) == 0 {
		return k
	}
	order := make([]*Reservation, 0, len(all))
	for i := range all {
		if !all[i].Over(now) {
			order = append(order, &all[i])
		}
	}
	slices.SortFunc(order, (*Reservation).before)
	k.devices, k.people = map[string][]*Reservation{}, map[int]bool{}
	for i := range devices {
		for _, r := range order {
			if r.Covers(&devices[i]) {
				k.devices[devices[i].UUID] = append(k.devices[devices[i].UUID], r)
				k.people[r.UID] = true
			}
		}
	}
	return k
}

// From returns the reservation that keeps a device from uid, who would use it
// from now until, or nil. A person's own reservation that holds goes before
// others' that begin later. Any use may begin until Notice before a reservation
// does, also one that may last for longer: few last for as long as they may.
func (k Keeping) From(uuid string, uid int, now, until time.Time) *Reservation {
	if longest := now.Add(Notice); until.After(longest) {
		until = longest
	}
	return k.within(uuid, uid, now, until)
}

func (k Keeping) within(uuid string, uid int, now, until time.Time) *Reservation {
	for _, r := range k.devices[uuid] {
		switch {
		case r.UID == uid && r.Running(now):
			if r.Until.IsZero() || until.IsZero() || !until.After(r.Until) {
				return nil
			}
		case r.UID != uid && r.keeps(now, until):
			return r
		}
	}
	return nil
}

// Own returns uid's reservation of a device that holds at now, or nil.
func (k Keeping) Own(uuid string, uid int, now time.Time) *Reservation {
	for _, r := range k.devices[uuid] {
		if r.Running(now) {
			if r.UID == uid {
				return r
			}
			return nil
		}
	}
	return nil
}

// For returns who may name which device at now: those for whom it is reserved.
func (k Keeping) For(now time.Time) func(uid int, uuid string) bool {
	return func(uid int, uuid string) bool { return k.Own(uuid, uid, now) != nil }
}

// Any reports whether anything is reserved.
func (k Keeping) Any() bool { return len(k.devices) > 0 }

// reserved reports whether a device is kept for anybody, now or soon.
func (k Keeping) reserved(uuid string, now time.Time) bool {
	return slices.ContainsFunc(k.devices[uuid], func(r *Reservation) bool { return r.keeps(now, time.Time{}) })
}

// knows reports whether uid has a device reserved, now or later.
func (k Keeping) knows(uid int) bool { return k.people[uid] }

// A Warning tells that a reservation begins soon, or has begun, on a device
// that somebody else holds.
type Warning struct {
	Claim       string // of the holder
	UID         int    // the holder
	Device      Grant
	Reservation Reservation
}

// Key names what a warning is about: the same claim and reservation have the
// same.
func (w *Warning) Key() string {
	r := &w.Reservation
	return w.Claim + " " + r.ID + r.Source + " " + r.From.UTC().Format(time.RFC3339)
}

// Warnings returns who must be told that what they hold is reserved for
// somebody else: from twice Notice before that until it is over. They come in
// the order of the reservations, then of the slots.
func (k Keeping) Warnings(claims []Claim, now time.Time) []Warning {
	var all []Warning
	for i := range claims {
		c := &claims[i]
		if c.State == Released {
			continue
		}
		for _, g := range c.Devices {
			if r := k.within(g.UUID, c.UID, now, now.Add(2*Notice)); r != nil {
				all = append(all, Warning{c.ID, c.UID, g, *r})
			}
		}
	}
	slices.SortFunc(all, func(a, b Warning) int {
		return cmp.Or(a.Reservation.before(&b.Reservation), cmp.Compare(a.Device.Slot, b.Device.Slot), cmp.Compare(a.Claim, b.Claim))
	})
	return all
}

// Clash returns the first reservation of somebody else's that covers one of
// the devices between from and until, or nil; and, if there is one, the next
// moment from which all of the devices are free of reservations for as long.
// That moment is zero where there is none.
func Clash(devices []Device, all []Reservation, uid int, from, until time.Time) (clash *Reservation, next time.Time) {
	others := make([]*Reservation, 0, len(all))
	for i := range all {
		r := &all[i]
		if r.UID != uid && slices.ContainsFunc(devices, func(d Device) bool { return r.Covers(&d) }) {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, (*Reservation).before)
	first := func(from, until time.Time) *Reservation {
		for _, r := range others {
			if r.overlaps(from, until) {
				return r
			}
		}
		return nil
	}
	if clash = first(from, until); clash == nil {
		return nil, time.Time{}
	}
	length := until.Sub(from)
	for r := clash; r != nil; {
		if r.Until.IsZero() {
			return clash, time.Time{}
		}
		next = r.Until
		end := time.Time{}
		if !until.IsZero() {
			end = next.Add(length)
		}
		r = first(next, end)
	}
	return clash, next
}
