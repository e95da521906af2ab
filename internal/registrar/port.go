package registrar

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

// PortPolicy returns which ports of the host uid may publish. Who asks for the
// first time is given a range that nobody has; it stays theirs. Errors are of
// kind problem.ErrExhausted where every range is given.
func (r *Registrar) PortPolicy(ctx context.Context, uid int) (port.Policy, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, slot, err := r.portPolicy(uid)
	if _, ok := r.slots[uid]; ok || err != nil {
		return p, err
	}
	if err := r.Store.SavePortSlot(ctx, uid, slot); err != nil {
		return port.Policy{}, notStored("Port not published", err)
	}
	r.slots[uid] = slot
	return p, nil
}

// NextPortPolicy returns what PortPolicy would, and gives nobody a range.
func (r *Registrar) NextPortPolicy(uid int) (port.Policy, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, _, err := r.portPolicy(uid)
	return p, err
}

// portPolicy finds uid's range, or one that nobody has. The caller holds mu.
func (r *Registrar) portPolicy(uid int) (p port.Policy, slot int, err error) {
	c := r.Config().Ports
	slot, ok := r.slots[uid]
	if !ok {
		slot = r.freeSlot()
	}
	if slots := c.Whole().Slots(c.PerPerson); slot >= slots {
		return p, slot, &problem.Error{
			What: "Port not published",
			Why:  problem.Because(problem.ErrExhausted, fmt.Sprintf("the host's ports %s are cut into %d ranges, and none is left for you", c.Range, slots)),
			Next: "Ask your administrators for more: ports.range and ports.per_person in ds01.yaml.",
		}
	}
	return port.Policy{Own: c.Whole().Slot(slot, c.PerPerson), Addresses: c.Addresses}, slot, nil
}

// freeSlot returns the first place that nobody has. The caller holds mu.
func (r *Registrar) freeSlot() int {
	taken := map[int]bool{}
	for _, slot := range r.slots {
		taken[slot] = true
	}
	slot := 0
	for taken[slot] {
		slot++
	}
	return slot
}
