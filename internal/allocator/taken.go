package allocator

import (
	"context"
	"maps"
	"slices"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Adopt stores a record for a container that ds01 did not make, with the
// devices it reaches. A name or a device that somebody has is of kind
// problem.ErrConflict.
func (a *Allocator) Adopt(ctx context.Context, r container.Record, uuids []string) (container.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.adoptable(r, uuids); err != nil {
		return container.Record{}, err
	}
	for _, d := range a.devices() {
		if slices.Contains(uuids, d.UUID) {
			r.Devices = append(r.Devices, gpu.Grant{UUID: d.UUID, Slot: d.Slot, Share: d.Share})
		}
	}
	r.ID, r.CreatedAt = newID(), a.now().UTC()
	if len(r.Devices) > 0 {
		r.Since = r.CreatedAt
	}
	if err := a.save(ctx, r); err != nil {
		return r, err
	}
	return r, a.Flush()
}

// adoptable checks that neither the name nor a device has an owner.
func (a *Allocator) adoptable(r container.Record, uuids []string) error {
	refuse := func(why, next string) error {
		return &problem.Error{What: "Container not adopted", Why: problem.Because(problem.ErrConflict, why), Next: next}
	}
	for _, other := range a.records {
		if other.UID == r.UID && other.Name == r.Name {
			return refuse(r.Login+" has a container "+r.Name+" already", "Give another name with --name.")
		}
		for _, d := range other.Devices {
			if other.State != gpu.Released && slices.Contains(uuids, d.UUID) {
				return refuse("device "+d.Slot+", which it can reach, is held by "+other.Login+" ("+other.Name+")",
					"Remove one of the two.")
			}
		}
	}
	return nil
}

// SetTaken tells which devices are out of reach although no claim holds them.
func (a *Allocator) SetTaken(taken map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.foreign = taken
	a.merge()
}

// Claims returns the claims that hold devices.
func (a *Allocator) Claims() (all []gpu.Claim) {
	for _, r := range a.Records() {
		if len(r.Devices) > 0 {
			all = append(all, r.Claim)
		}
	}
	return all
}

// SetStrangers tells which devices have processes that no claim explains, and
// which.
func (a *Allocator) SetStrangers(strangers map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if maps.Equal(a.strangers, strangers) {
		return
	}
	a.strangers = strangers
	a.merge()
}

// merge puts together what is out of reach; the caller holds mu.
func (a *Allocator) merge() {
	a.taken = maps.Clone(a.strangers)
	if a.taken == nil {
		a.taken = map[string]string{}
	}
	maps.Copy(a.taken, a.foreign)
	a.tell()
}

// DevicesChanged tells who reads from Changed that other devices may be granted
// than before.
func (a *Allocator) DevicesChanged() { a.tell() }

// SetBlind tells that nobody has looked yet, or any more, at what the engine
// runs: as long as that is so, no device is granted.
func (a *Allocator) SetBlind(blind bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case blind && a.sight == nil:
		a.sight = make(chan struct{})
	case !blind && a.sight != nil:
		close(a.sight)
		a.sight = nil
		a.tell()
	}
}

// sightPatience is how long a wish for a device waits for a first look at what
// the engine runs: most take less, and who has to ask again finds that odd.
const sightPatience = 10 * time.Second

// AwaitSight is Sighted, once there was a little time for somebody to look.
func (a *Allocator) AwaitSight(ctx context.Context) error {
	a.mu.Lock()
	sight := a.sight
	a.mu.Unlock()
	if sight == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sightPatience)
	defer cancel()
	select {
	case <-sight:
	case <-ctx.Done():
	}
	return a.Sighted()
}

// Sighted is nil while devices can be granted, see SetBlind. The error is of
// kind problem.ErrUnavailable.
func (a *Allocator) Sighted() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sighted()
}

func (a *Allocator) sighted() error {
	if a.sight == nil {
		return nil
	}
	return &problem.Error{
		What: "GPU not granted",
		Why:  problem.Because(problem.ErrUnavailable, "ds01 is still looking at what the engine runs"),
		Next: "Try again in a moment.",
	}
}

// Taken returns a copy of what SetTaken told.
func (a *Allocator) Taken() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.foreign)
}
