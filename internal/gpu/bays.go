package gpu

import (
	"cmp"
	"slices"
	"time"
)

// A bay is one card while a plan is made. Copies are independent of one another.
type bay struct {
	*Card
	table  *Table   // nil: not known, so nothing is made there
	closed bool     // no step may touch the card
	mig    bool     // MIG is on, or is when the plan is done
	base   int      // the state that lasts: instances in use and picked ones
	solid  int      // the same with free ones that must stay yet
	stand  set      // the card's instances in solid
	made   []string // the profiles of those in solid that are to be made
	free   set      // instances that nobody uses: they can be granted as they are
	stays  set      // those of them that may not be folded
	picked set      // and those that are granted
	gone   bool     // the card is held as a whole, or picked
}

// A set of a card's instances, by their places in its list, of which a card has seven
// at most.
type set uint64

const setSize = 64

func (s set) has(i int) bool { return s&(1<<i) != 0 }
func (s *set) add(i int)     { *s |= 1 << i }

type planner struct {
	policy Policy
	now    time.Time
	host   Host
	held   holding
	bays   []bay // healthy cards, by index

	wants []Want
	order []int  // of the wants, largest first
	picks []pick // as they were made
	fulls []int  // wants that get a whole card
	whole []int  // their bays
	tries int
}

func newPlanner(h Host, p Policy, now time.Time) *planner {
	pl := &planner{policy: p, now: now, host: h, held: hold(h.Cards, h.Claims), bays: make([]bay, 0, len(h.Cards))}
	for i := range h.Cards {
		if why, _ := h.Cards[i].unfit(); why == "" {
			pl.bays = append(pl.bays, pl.bay(i))
		}
	}
	byIndex := func(a, b bay) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.UUID, b.UUID)) }
	if !slices.IsSortedFunc(pl.bays, byIndex) {
		slices.SortFunc(pl.bays, byIndex)
	}
	return pl
}

// bay looks at the card at that place.
func (pl *planner) bay(at int) bay {
	c := &pl.host.Cards[at]
	_, taken := pl.host.Taken[c.UUID]
	held := pl.held.card(c, at) || len(c.Instances) > setSize
	b := bay{
		Card: c, table: pl.policy.Tables.byCard[c.UUID], mig: c.MIG,
		closed: pl.policy.Mode != MIGDynamic || c.MIGWaits || taken || held,
		gone:   taken || held,
	}
	if !c.MIG || b.gone {
		return b
	}
	for i := range c.Instances {
		_, taken := pl.host.Taken[c.Instances[i].UUID]
		b.closed = b.closed || taken
	}
	for i := range c.Instances {
		pl.settle(&b, i, pl.held.instance(&c.Instances[i], at, i))
	}
	return b
}

// settle puts an instance where it belongs: in use, free but to stay, or free.
func (pl *planner) settle(b *bay, i int, held bool) {
	in := &b.Instances[i]
	_, taken := pl.host.Taken[in.UUID]
	switch {
	case taken || held || in.Problem != "":
		b.add(i, true)
	case b.closed || pl.now.Sub(pl.host.FreedAt[in.UUID]) < pl.policy.Hysteresis:
		b.add(i, false)
		b.free.add(i)
		b.stays.add(i)
	default:
		b.free.add(i)
	}
}

// add makes an instance part of the layout, for as long as the plan sees or
// only until it may be folded.
func (b *bay) add(i int, lasts bool) {
	in := &b.Instances[i]
	b.stand.add(i)
	if b.table == nil {
		return
	}
	spot := b.table.spot(in.Profile, Placement{Start: in.Start, Size: in.Size})
	if spot < 0 || b.table.with(b.solid, spot) < 0 {
		b.table, b.closed = nil, true // a layout that the driver's own list doesn't explain
		b.stays = b.free
		return
	}
	b.solid = b.table.with(b.solid, spot)
	if lasts {
		b.base = b.table.with(b.base, spot)
	}
}

// count returns how many instances of that profile stand in the layout.
func (b *bay) count(profile string) int {
	n := 0
	for i := range b.Instances {
		if b.stand.has(i) && b.Instances[i].Profile == profile {
			n++
		}
	}
	for _, m := range b.made {
		if m == profile {
			n++
		}
	}
	return n
}

// room reports whether an instance of that profile can stand at the spot, when
// all that may be folded is.
func (b *bay) room(profile string, spot int) bool {
	return b.table.with(b.solid, spot) >= 0 && b.count(profile) < b.table.names[profile].most
}

// foldable reports whether an instance is free, may be folded and isn't granted.
func (b *bay) foldable(i int) bool { return b.free.has(i) && !b.stays.has(i) && !b.picked.has(i) }

// isWhole reports whether no instance is in the way of the whole card.
func (b *bay) isWhole() bool { return b.stand == 0 && len(b.made) == 0 }

// takesSteps reports whether the card's MIG mode may be changed for that.
func (pl *planner) takesSteps(b *bay) bool {
	return !b.closed && (!b.MIGResets || pl.policy.CanReset)
}
