package gpu

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// reservable returns the pool's devices, and cards that are none now because
// they are cut, but that may be reserved all the same.
func (p *Pool) reservable() []Device {
	if p.Cutting == nil {
		return p.Devices
	}
	all := slices.Clone(p.Devices)
	for _, c := range p.Cutting.Cards {
		if c.MIG {
			all = append(all, Device{UUID: c.UUID, Slot: strconv.Itoa(c.Index), Card: c.Index, Instance: -1, Profile: Full})
		}
	}
	return all
}

// cuts reports whether cards may be cut for a ticket: not where it names
// devices or wants all there are.
func (p *pass) cuts(r *rank) bool {
	return p.Pool.dynamic() && len(r.ticket.Exact) == 0 && !r.ticket.Request.All &&
		!slices.ContainsFunc(r.ticket.Request.Parts, func(part Part) bool { return part.Device != "" })
}

// arrange picks devices for a ticket, and cuts cards for it, without touching
// what isn't open to it: first only of those reserved for its owner, if any.
func (p *pass) arrange(r *rank, open, mine []Device, until time.Time) ([]Device, Plan, error) {
	if r.reserved != nil {
		others := func(uuid string) bool { return p.keeping.Own(uuid, r.ticket.UID, p.now) == nil }
		if devices, plan, err := p.arrangeOf(r, mine, others); err == nil {
			return devices, plan, nil
		}
	}
	reserved := func(uuid string) bool { return p.keeping.From(uuid, r.ticket.UID, p.now, until) != nil }
	return p.arrangeOf(r, open, reserved)
}

// arrangeOf picks among the open devices, and what can be made on cards that
// aren't barred.
func (p *pass) arrangeOf(r *rank, open []Device, barred func(card string) bool) ([]Device, Plan, error) {
	pool := p.Pool
	cut := *pool.Cutting
	cut.Taken = maps.Clone(cut.Taken)
	if cut.Taken == nil {
		cut.Taken = map[string]string{}
	}
	maps.Copy(cut.Taken, p.closed)
	next := 0 // of the open ones, which are in the order of the free ones
	for i := range p.free {
		if next < len(open) && open[next].UUID == p.free[i].UUID {
			next++
		} else {
			cut.Taken[p.free[i].UUID] = "kept for others"
		}
	}
	for _, c := range cut.Cards {
		if c.MIG && barred(c.UUID) {
			cut.Taken[c.UUID] = "reserved for others"
		}
	}
	pool.Cutting = &cut
	pool.Claims = p.claims
	plan, err := Arrange(pool, r.ticket.UID, r.ticket.Request, r.standing.Quota, p.now)
	if err != nil {
		return nil, Plan{}, err
	}
	return pool.Picked(plan), plan, nil
}

// arrangeAlone says on which cards a ticket would get devices if no claim of
// others held anything.
func (p *pass) arrangeAlone(r *rank, until time.Time) (cards []int, err error) {
	pool := p.Pool.Alone(r.ticket.UID)
	pool.Claims = p.own[r.ticket.UID]
	taken := maps.Clone(p.Pool.Taken)
	if taken == nil {
		taken = map[string]string{}
	}
	maps.Copy(taken, p.Pool.Cutting.Taken)
	if p.keeping.Any() {
		for _, d := range p.Pool.reservable() {
			if p.keeping.From(d.UUID, r.ticket.UID, p.now, until) != nil {
				taken[d.UUID] = "reserved for others"
			}
		}
	}
	pool.Cutting.Taken = taken
	plan, err := Arrange(pool, r.ticket.UID, r.ticket.Request, r.standing.Quota, p.now)
	for i := range plan.Picks {
		cards = append(cards, plan.Picks[i].Card)
	}
	return cards, err
}

// closeCards keeps everybody behind from the cards that a plan cuts.
func (p *pass) closeCards(plan Plan) {
	for _, s := range plan.Steps {
		p.closed[s.CardUUID] = "it is being cut"
		for i := range p.free {
			if p.free[i].Card == s.Card {
				p.free[i].got = true
			}
		}
	}
}

// keepCards keeps from those behind, for each device that a waiting ticket
// wants, a card that could give it if nothing else were on it: the one with the
// least in use, since that is the next on which there is room. What is in use
// there comes back and isn't given out again, so that room comes in the end,
// however much those behind ask for. Where two of its devices want the same card,
// all that could give one of them are kept.
func (p *pass) keepCards(r *rank, until time.Time) {
	parts := r.ticket.Request.parts()
	gives := make([][]int, len(parts)) // cards, those with the least in use first
	for _, at := range p.emptiest() {
		c := &p.Pool.Cutting.Cards[at]
		if p.keptFrom(c, r.ticket.UID, until) {
			continue
		}
		for i, part := range parts {
			if p.couldGive(c, part, r.standing.Quota.AllowFull) {
				gives[i] = append(gives[i], at)
			}
		}
	}
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(gives[a]), len(gives[b])) })
	var kept []int
	for _, i := range order {
		n := parts[i].Count
		for _, at := range gives[i] {
			if n > 0 && !slices.Contains(kept, at) {
				kept = append(kept, at)
				n--
			}
		}
		if n > 0 {
			kept = slices.Concat(gives...)
			break
		}
	}
	for _, at := range kept {
		p.keepCard(&p.Pool.Cutting.Cards[at])
	}
	p.emptier = slices.DeleteFunc(p.emptier, func(at int) bool { return slices.Contains(kept, at) })
}

func (p *pass) keepCard(c *Card) {
	p.closed[c.UUID] = "somebody waits for it"
	for i := range p.free {
		if o := &p.free[i]; o.Card == c.Index && !o.kept {
			o.kept, o.sure = true, time.Time{}
		}
	}
}

// keptFrom reports whether somebody else has the card reserved, or something on
// it.
func (p *pass) keptFrom(c *Card, uid int, until time.Time) bool {
	if !p.keeping.Any() {
		return false
	}
	from := func(uuid string) bool { return p.keeping.From(uuid, uid, p.now, until) != nil }
	return from(c.UUID) || slices.ContainsFunc(c.Instances, func(in Instance) bool { return from(in.UUID) })
}

// couldGive reports whether a card could give a device that the part asks for if
// nothing were on it.
func (p *pass) couldGive(c *Card, part Part, full bool) bool {
	policy := &p.Pool.Cutting.Policy
	changes := !c.MIGWaits && (!c.MIGResets || policy.CanReset)
	if full && (!c.MIG || changes) && part.takes(&Device{Profile: Full, MemoryBytes: c.MemoryBytes}) {
		return true
	}
	t := policy.Tables.byCard[c.UUID]
	return t != nil && !c.MIGWaits && (c.MIG || changes) && t.offers(part)
}

// offers reports whether an instance can be made that the part asks for.
func (t *Table) offers(part Part) bool {
	return t.has(part.Profile) || slices.ContainsFunc(t.kinds, func(k kind) bool { return part.takes(&Device{Profile: k.Name, MemoryBytes: k.MemoryBytes}) })
}

// emptiest returns the cards that may be cut and aren't closed, by their place in
// the pool, those with the least in use first.
func (p *pass) emptiest() []int {
	if p.emptier != nil {
		return p.emptier
	}
	used := p.usedShares()
	cards := p.Pool.Cutting.Cards
	p.emptier = make([]int, 0, len(cards))
	for i := range cards {
		_, closed := p.closed[cards[i].UUID]
		if ill, _ := cards[i].unfit(); !closed && ill == "" && !p.strange(&cards[i]) {
			p.emptier = append(p.emptier, i)
		}
	}
	slices.SortFunc(p.emptier, func(a, b int) int {
		return cmp.Or(cmp.Compare(used[cards[a].Index], used[cards[b].Index]), cmp.Compare(cards[a].Index, cards[b].Index))
	})
	return p.emptier
}

// strange reports whether somebody uses a card, or an instance on it, without a
// claim: nobody knows when that ends, and until then it isn't cut.
func (p *pass) strange(c *Card) bool {
	taken := func(uuid string) bool {
		_, a := p.Pool.Taken[uuid]
		_, b := p.Pool.Cutting.Taken[uuid]
		return a || b
	}
	return taken(c.UUID) || slices.ContainsFunc(c.Instances, func(in Instance) bool { return taken(in.UUID) })
}

// usedShares returns how much of each card is in use, by its index.
func (p *pass) usedShares() map[int]quantity.GPUShare {
	used := map[int]quantity.GPUShare{}
	for i := range p.claims {
		for _, g := range p.claims[i].Devices {
			if at, there := p.cardOf(g.UUID); there && p.claims[i].State != Released {
				used[at] += g.Share
			}
		}
	}
	return used
}
