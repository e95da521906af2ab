package gpu

import (
	"cmp"
	"slices"
	"time"
)

// A bay is one card while a plan is made. Copies are independent of one
// another: the slices of a bay only grow, into memory of their own.
type bay struct {
	*Card
	table  *Table   // nil: not known, so nothing is made there
	closed bool     // no step may touch the card
	mig    bool     // MIG is on, or is when the plan is done
	base   int      // the state that lasts: instances in use and picked ones
	solid  int      // the same with free ones that must stay yet
	stand  []string // the profiles of the instances in solid
	free   []free   // instances that nobody uses
	gone   bool     // the card is held as a whole, or picked
}

// A free instance can be granted as it is.
type free struct {
	*Instance
	stays  bool // it may not be folded
	picked bool
}

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
	instances := len(pl.held.instances)
	stand, all := make([]string, instances), make([]free, instances)
	for i := range h.Cards {
		c := &h.Cards[i]
		if why, _ := c.unfit(); why == "" {
			n := len(c.Instances)
			pl.bays = append(pl.bays, pl.bay(i, stand[:0:n], all[:0:n]))
			stand, all = stand[n:], all[n:]
		}
	}
	byIndex := func(a, b bay) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.UUID, b.UUID)) }
	if !slices.IsSortedFunc(pl.bays, byIndex) {
		slices.SortFunc(pl.bays, byIndex)
	}
	return pl
}

// bay looks at the card at that place. stand and all are memory for its
// instances.
func (pl *planner) bay(at int, stand []string, all []free) bay {
	c := &pl.host.Cards[at]
	_, taken := pl.host.Taken[c.UUID]
	held := pl.held.card(c, at)
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
	b.stand, b.free = stand, all
	for i := range c.Instances {
		pl.settle(&b, &c.Instances[i], pl.held.instance(&c.Instances[i], at, i))
	}
	return b
}

// settle puts an instance where it belongs: in use, free but to stay, or free.
func (pl *planner) settle(b *bay, in *Instance, held bool) {
	_, taken := pl.host.Taken[in.UUID]
	switch {
	case taken || held || in.Problem != "":
		b.add(in, true)
	case b.closed || pl.now.Sub(pl.host.FreedAt[in.UUID]) < pl.policy.Hysteresis:
		b.add(in, false)
		b.free = append(b.free, free{Instance: in, stays: true})
	default:
		b.free = append(b.free, free{Instance: in})
	}
}

// add makes an instance part of the layout, for as long as the plan sees or
// only until it may be folded.
func (b *bay) add(in *Instance, lasts bool) {
	b.stand = append(b.stand, in.Profile)
	if b.table == nil {
		return
	}
	spot := b.table.spot(in.Profile, Placement{Start: in.Start, Size: in.Size})
	if spot < 0 || b.table.with(b.solid, spot) < 0 {
		b.table, b.closed = nil, true // a layout that the driver's own list doesn't explain
		for i := range b.free {
			b.free[i].stays = true
		}
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
	for _, s := range b.stand {
		if s == profile {
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

// isWhole reports whether no instance is in the way of the whole card.
func (b *bay) isWhole() bool { return len(b.stand) == 0 }

// takesSteps reports whether the card's MIG mode may be changed for that.
func (pl *planner) takesSteps(b *bay) bool {
	return !b.closed && (!b.MIGResets || pl.policy.CanReset)
}
