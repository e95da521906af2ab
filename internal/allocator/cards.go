package allocator

import (
	"maps"

	"ds01.dev/ds01/internal/gpu"
)

// Close keeps a device from being granted until open is called, because its
// card is about to be changed, and returns who holds what from then on: Claims
// and Taken of the host. That it is held already is for the caller to see.
func (a *Allocator) Close(uuid string) (h gpu.Host, open func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed[uuid]++
	return gpu.Host{Claims: a.claims(), Taken: maps.Clone(a.taken)}, func() { a.open(uuid) }
}

func (a *Allocator) open(uuid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed[uuid]--; a.closed[uuid] == 0 {
		delete(a.closed, uuid)
	}
	a.tell()
}

// untouchable returns the devices that nobody gets now although no claim holds
// them; the caller holds mu.
func (a *Allocator) untouchable() map[string]string {
	if len(a.closed) == 0 {
		return a.taken
	}
	all := maps.Clone(a.taken)
	if all == nil {
		all = map[string]string{}
	}
	for uuid := range a.closed {
		all[uuid] = "its card is being changed"
	}
	return all
}
