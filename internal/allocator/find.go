package allocator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Record returns the record of a claim.
func (a *Allocator) Record(claim string) (container.Record, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	return r, ok
}

// ByContainer returns the record of an engine's container id.
func (a *Allocator) ByContainer(id string) (container.Record, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[a.byID[id]]
	return r, ok
}

// OwnerOf returns who owns a container, or owned it until a moment ago.
func (a *Allocator) OwnerOf(id string) (uid int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, known := a.records[a.byID[id]]; known {
		return r.UID, true
	}
	t, ok := a.gone[id]
	return t.uid, ok
}

// Find returns what uid means by a reference: the own container of that name,
// id or unique prefix of an id. Others' containers are of kind
// problem.ErrNotFound, as if they didn't exist.
func (a *Allocator) Find(uid int, reference string) (container.Record, error) {
	return a.find(reference, func(r container.Record) bool { return r.UID == uid })
}

// FindAny returns what an administrator means: first as Find, then by the
// engine's name or id among everybody's.
func (a *Allocator) FindAny(uid int, reference string) (container.Record, error) {
	if r, err := a.Find(uid, reference); err == nil {
		return r, nil
	}
	if name, owner, ok := account.SplitEngineName(reference); ok {
		return a.Find(owner, name)
	}
	return a.find(reference, func(r container.Record) bool { return r.ContainerID != "" && r.Name != reference })
}

func (a *Allocator) find(reference string, mine func(container.Record) bool) (container.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := a.records[a.byID[reference]]; ok && mine(r) {
		return r, nil
	}
	name, owner, full := account.SplitEngineName(reference)
	var found []container.Record
	for _, r := range a.records {
		switch {
		case !mine(r):
		case r.Name == reference, full && r.Name == name && r.UID == owner:
			return r, nil
		case len(reference) >= 2 && strings.HasPrefix(r.ContainerID, reference):
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return container.Record{}, &problem.Error{
			What: "No such container: " + reference,
			Why:  problem.Because(problem.ErrNotFound, "you have no container of that name or id"),
			Next: "'container list' shows yours.",
		}
	}
	return container.Record{}, &problem.Error{
		What: "Which container?",
		Why:  problem.Because(problem.ErrConflict, fmt.Sprintf("%q is the beginning of %d container ids", reference, len(found))),
		Next: "Write more of the id, or the name.",
	}
}

// ContainersOf returns the engine's ids of uid's containers, in no order.
func (a *Allocator) ContainersOf(uid int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for id, claim := range a.byID {
		if a.records[claim].UID == uid {
			ids = append(ids, id)
		}
	}
	return ids
}

// Records returns every record, oldest first. Everybody who asks gets the same
// ones, so nobody changes them.
func (a *Allocator) Records() []container.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.order == nil {
		a.order = slices.SortedFunc(maps.Keys(a.records), func(x, y string) int {
			return cmp.Or(a.records[x].CreatedAt.Compare(a.records[y].CreatedAt), strings.Compare(x, y))
		})
	}
	if a.listed == nil {
		a.listed = make([]container.Record, len(a.order))
		for i, id := range a.order {
			a.listed[i] = a.records[id]
		}
	}
	return a.listed
}

// Used returns the devices and the share that uid holds, with what is kept for
// them in the queue.
func (a *Allocator) Used(uid int) (devices int, share quantity.GPUShare, containers int) {
	for _, r := range a.Records() {
		if r.UID != uid {
			continue
		}
		containers++
		if r.State == gpu.Released {
			continue
		}
		for _, d := range r.Devices {
			devices++
			share += d.Share
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.queue.tickets {
		for _, d := range t.Devices {
			if t.UID == uid {
				devices++
				share += d.Share
			}
		}
	}
	return devices, share, containers
}
