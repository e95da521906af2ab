package allocator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Cards are the host's, where they may be cut anew for who asks.
type Cards struct {
	// List returns the cards as the devices were last made of them.
	List func() []gpu.Card
	// Policy says how the site wants them used.
	Policy func() gpu.Policy
	// Readings tell who uses them.
	Readings func(ctx context.Context) (map[string]gpu.Reading, error)
	// Carry carries out steps of a plan; see the partitioner's.
	Carry func(ctx context.Context, steps []gpu.Step, why string) error
}

// A cutter is the part of an Allocator that has cards cut. The Allocator's mu
// guards it.
type cutter struct {
	Cards
	readings map[string]gpu.Reading // as last looked up
	freed    map[string]time.Time   // since when an instance is free
	closed   map[string]int         // device UUID → for how many it is closed now
	withheld map[string]string      // device UUID → why nobody knows how it is
	making   map[string]making      // by claim or ticket
	moved    chan struct{}          // closed, and a new one made, when one of both is over
	due      chan struct{}          // something may be due for Run
}

// A making is what is being made for somebody.
type making struct {
	claim gpu.Claim    // what it will be: it counts for the quota
	cards map[int]bool // nobody else gets anything on them meanwhile
	plan  gpu.Plan
}

func newCutter() cutter {
	return cutter{
		freed: map[string]time.Time{}, closed: map[string]int{}, withheld: map[string]string{}, making: map[string]making{},
		moved: make(chan struct{}), due: make(chan struct{}, 1),
	}
}

// Shape tells the allocator of cards that may be cut, and is called before
// anybody asks for anything.
func (a *Allocator) Shape(c Cards) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut.Cards = c
}

// dynamic reports whether cards may be cut; the caller holds mu.
func (a *Allocator) dynamic() bool {
	return a.cut.Policy != nil && a.cut.Policy().Mode == gpu.MIGDynamic
}

// HasGPUs reports whether the host has a device, or a card to make one on.
func (a *Allocator) HasGPUs() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.devices()) > 0 || a.dynamic() && len(a.cut.List()) > 0
}

// Close keeps a device from being granted until open is called, because its
// card is about to be changed, and returns who holds what from then on: Claims
// and Taken of the host. That it is held already is for the caller to see.
func (a *Allocator) Close(uuid string) (h gpu.Host, open func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut.closed[uuid]++
	return gpu.Host{Claims: a.claims(), Taken: maps.Clone(a.taken)}, func() { a.open(uuid) }
}

// Withhold keeps a device from being granted until give is called, because nobody
// knows how it is. Who asks doesn't wait for that.
func (a *Allocator) Withhold(uuid, why string) (give func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut.withheld[uuid] = why
	a.cut.stir()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.cut.withheld, uuid)
		a.tell()
	}
}

// Holds returns who holds what now: Claims and Taken of the host.
func (a *Allocator) Holds() gpu.Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	return gpu.Host{Claims: a.claims(), Taken: maps.Clone(a.taken)}
}

func (a *Allocator) open(uuid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cut.closed[uuid]--; a.cut.closed[uuid] == 0 {
		delete(a.cut.closed, uuid)
	}
	a.cut.stir()
	a.tell()
}

// stir wakes who waits until cards have been cut; the caller holds mu.
func (c *cutter) stir() {
	close(c.moved)
	c.moved = make(chan struct{})
}

// untouchable returns the devices that nobody gets now although no claim holds
// them; the caller holds mu.
func (a *Allocator) untouchable(devices []gpu.Device) map[string]string {
	if len(a.cut.closed) == 0 && len(a.cut.making) == 0 && len(a.cut.withheld) == 0 {
		return a.taken
	}
	const why = "its card is being changed"
	all := maps.Clone(a.taken)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, a.cut.withheld)
	for uuid := range a.cut.closed {
		all[uuid] = why
	}
	for _, m := range a.cut.making {
		for i := range devices {
			if m.cards[devices[i].Card] {
				all[devices[i].UUID] = why
			}
		}
		for _, s := range m.plan.Steps {
			all[s.CardUUID] = why
		}
	}
	return all
}

// cutting is what the pool's devices are on, where that may be cut; the caller
// holds mu.
func (a *Allocator) cutting(claims []gpu.Claim) *gpu.Cutting {
	if !a.dynamic() {
		return nil
	}
	cards := a.cut.List()
	return &gpu.Cutting{
		Cards: cards, Policy: a.cut.Policy(), FreedAt: maps.Clone(a.cut.freed), Taken: gpu.Unexplained(cards, claims, a.cut.readings),
	}
}

// lookAtCards finds out who uses the cards, without holding mu.
func (a *Allocator) lookAtCards(ctx context.Context) error {
	a.mu.Lock()
	dynamic, ask := a.dynamic(), a.cut.Readings
	a.mu.Unlock()
	if !dynamic {
		return nil
	}
	readings, err := ask(ctx)
	if err != nil {
		return &problem.Error{
			What: "GPU not granted", Why: problem.Because(problem.ErrUnavailable, "ds01 can't see who uses the GPUs: "+err.Error()),
			Next: "Tell your administrators: 'ds01 doctor' shows more.",
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut.readings = readings
	a.noteFree()
	return nil
}

// noteFree remembers since when instances are free, as far as that was seen;
// the caller holds mu.
func (a *Allocator) noteFree() {
	held, there := map[string]bool{}, map[string]bool{}
	for _, c := range a.claims() {
		for _, g := range c.Devices {
			held[g.UUID] = held[g.UUID] || c.State != gpu.Released
		}
	}
	for _, c := range a.cut.List() {
		for _, in := range c.Instances {
			there[in.UUID] = true
			if _, known := a.cut.freed[in.UUID]; !known && !held[in.UUID] {
				a.cut.freed[in.UUID] = a.now()
			}
		}
	}
	maps.DeleteFunc(a.cut.freed, func(uuid string, _ time.Time) bool { return held[uuid] || !there[uuid] })
}

// beginMaking keeps for somebody what is about to be made for them; the caller
// holds mu.
func (a *Allocator) beginMaking(id string, uid int, plan gpu.Plan) {
	m := making{claim: gpu.Claim{ID: id, UID: uid, State: gpu.Pending}, cards: map[int]bool{}, plan: plan}
	for _, p := range plan.Picks {
		g := gpu.Grant{UUID: p.UUID, Share: p.Share}
		if p.Step >= 0 {
			g.UUID = "" // the card of a whole one is touched for it
		}
		m.claim.Devices = append(m.claim.Devices, g)
	}
	for _, s := range plan.Steps {
		m.cards[s.Card] = true
	}
	a.cut.making[id] = m
}

// Cutting says what is being made for a person now, "2g.20gb on card 1", in no
// order.
func (a *Allocator) Cutting(uid int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []string{}
	for _, m := range a.cut.making {
		if m.claim.UID == uid {
			all = append(all, m.plan.Cuts())
		}
	}
	return all
}

// Withheld returns the devices that are withheld, by UUID with the reason.
func (a *Allocator) Withheld() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.cut.withheld)
}

// endMaking stops keeping it, and returns what there is of it now. What was
// made and isn't there for somebody may be folded at once. The caller holds mu.
func (a *Allocator) endMaking(id string, failed error) ([]gpu.Device, error) {
	m := a.cut.making[id]
	delete(a.cut.making, id)
	a.cut.stir()
	a.tell()
	if failed != nil {
		for _, c := range a.cut.List() {
			for _, in := range c.Instances {
				if _, known := a.cut.freed[in.UUID]; m.cards[c.Index] && !known {
					a.cut.freed[in.UUID] = time.Time{}
				}
			}
		}
		return nil, notMade(failed)
	}
	devices, all := m.plan.Made(a.cut.List(), a.devices())
	if !all {
		return nil, notMade(problem.Because(problem.ErrUnavailable, "what was made for you is gone"))
	}
	for _, c := range a.claims() {
		for _, g := range c.Devices {
			if c.State != gpu.Released && slices.ContainsFunc(devices, func(d gpu.Device) bool { return d.UUID == g.UUID }) {
				return nil, notMade(problem.Because(problem.ErrConflict, "somebody else has what was made for you"))
			}
		}
	}
	return devices, nil
}

func notMade(err error) error {
	return &problem.Error{
		What: "GPU not granted", Why: err,
		Next: "Nothing is kept for you. Try again, or ask for something that is free ('ds01 gpu list'); tell your administrators if it goes on.",
	}
}

// carry has a plan carried out for somebody, without holding mu.
func (a *Allocator) carry(ctx context.Context, plan gpu.Plan, who string) error {
	var kinds []string
	for _, p := range plan.Picks {
		kinds = append(kinds, p.Profile)
	}
	return a.cut.Carry(ctx, plan.Steps, strings.Join(kinds, ", ")+" for "+who)
}

// inMotion returns what is closed once cards that are being cut now aren't any
// more, or nil where none is; the caller holds mu.
func (a *Allocator) inMotion() <-chan struct{} {
	if len(a.cut.making) == 0 && len(a.cut.closed) == 0 {
		return nil
	}
	return a.cut.moved
}
