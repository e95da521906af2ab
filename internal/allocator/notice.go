package allocator

import (
	"context"
	"strings"
	"time"

	"ds01.dev/ds01/internal/gpu"
)

// LastCall is how long before something is no longer kept for somebody they
// are told again.
const LastCall = 2 * time.Minute

// A Notice is something that one person is to be told, once by each way.
type Notice struct {
	Key   string // the same notice has the same
	UID   int
	Login string
	Told  gpu.Told

	Ticket   *gpu.Ticket   // what is kept for it is the news
	Ailment  *gpu.Ailment  // a device that a container holds isn't granted any more; with neither: the warnings are the news
	LastCall bool          // it is kept for LastCall only
	Name     string        // of the container that holds what is reserved for somebody else
	Warnings []gpu.Warning // of one reservation
}

// By reports whether the person was told by that way.
func (n *Notice) By(w gpu.Way) bool { return n.Told.Ways&w != 0 }

// Notices returns what people are to be told now, by the ways by which they
// weren't yet: that something is kept for them, that it soon isn't any more,
// and that what they hold is reserved for somebody else, or isn't granted any
// more.
func (a *Allocator) Notices() []Notice {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Notice
	for _, t := range a.sortedTickets() {
		if !t.Granted() {
			continue
		}
		n := Notice{Key: "kept " + t.ID, UID: t.UID, Login: t.Login, Ticket: &t, Told: gpu.Told{Over: t.Until}}
		if n.LastCall = !a.now().Before(t.Until.Add(-LastCall)); n.LastCall {
			n.Key = "last call " + t.ID
		}
		all = append(all, n)
	}
	all = append(all, a.warnings()...)
	all = append(all, a.ailments()...)
	for i := range all {
		all[i].Told.Ways = a.queue.told[all[i].Key].Ways
	}
	return all
}

// warnings returns one notice for each container and reservation; the caller
// holds mu.
func (a *Allocator) warnings() []Notice {
	var all []Notice
	at := map[string]int{}
	for _, w := range a.reservedButHeld() {
		key := "reserved " + w.Key()
		i, known := at[key]
		if r, held := a.records[w.Claim]; held && !known {
			i, at[key] = len(all), len(all)
			over := w.Reservation.Until
			if over.IsZero() {
				over = a.now().Add(remembered)
			}
			all = append(all, Notice{Key: key, UID: r.UID, Login: r.Login, Name: r.Name, Told: gpu.Told{Over: over}})
		} else if !known {
			continue // what is kept for a ticket is given back by itself
		}
		all[i].Warnings = append(all[i].Warnings, w)
	}
	return all
}

// ailing begins the keys of notices about devices that aren't granted any more.
const ailing = "ailing "

// ailments returns one notice for each container and device of it that isn't
// granted any more. What has passed is news again when it comes back. The caller
// holds mu.
func (a *Allocator) ailments() []Notice {
	claims := make([]gpu.Claim, 0, len(a.records))
	for _, r := range a.records {
		claims = append(claims, r.Claim)
	}
	var all []Notice
	now := map[string]bool{}
	for _, ill := range gpu.Ailing(a.devices(), claims) {
		r := a.records[ill.Claim.ID]
		key := ailing + r.ID + " " + ill.Device.UUID + " " + ill.Device.Problem
		now[key] = true
		all = append(all, Notice{
			Key: key, UID: r.UID, Login: r.Login, Name: r.Name, Ailment: &ill, Told: gpu.Told{Over: a.now().Add(remembered)},
		})
	}
	for key := range a.queue.told {
		if strings.HasPrefix(key, ailing) && !now[key] {
			delete(a.queue.told, key) // the store forgets it in its time
		}
	}
	return all
}

// SetTold remembers that a person was told by one more way.
func (a *Allocator) SetTold(ctx context.Context, n Notice, by gpu.Way) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, t := range a.queue.told {
		if !a.now().Before(t.Over) {
			delete(a.queue.told, key) // the store forgets it at the next start
		}
	}
	told := gpu.Told{Ways: a.queue.told[n.Key].Ways | by, Over: n.Told.Over}
	if err := a.store.SaveTold(ctx, n.Key, told); err != nil {
		return notStored(err)
	}
	a.queue.told[n.Key] = told
	return nil
}
