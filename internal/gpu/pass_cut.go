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
	key, alike := r.wish(until), !p.keeping.knows(r.ticket.UID)
	if err := p.refused[key]; err != nil && alike {
		return nil, Plan{}, err
	}
	devices, plan, err := p.arrangeOf(r, open, reserved)
	if err != nil && alike && len(p.own[r.ticket.UID]) == 0 {
		p.refused[key] = err // there will be less room, and nobody holds less
	}
	return devices, plan, err
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
	isOpen := make(map[string]bool, len(open))
	for _, d := range open {
		isOpen[d.UUID] = true
	}
	for _, d := range p.free {
		if !isOpen[d.UUID] {
			cut.Taken[d.UUID] = "kept for others"
		}
	}
	for _, c := range cut.Cards {
		if c.MIG && barred(c.UUID) {
			cut.Taken[c.UUID] = "reserved for others"
		}
	}
	pool.Cutting = &cut
	pool.Claims = slices.Concat(pool.Claims, p.granted)
	plan, err := Arrange(pool, r.ticket.UID, r.ticket.Request, r.standing.Quota, p.now)
	if err != nil {
		return nil, Plan{}, err
	}
	return pool.Picked(plan), plan, nil
}

// arrangeAlone refuses where cards couldn't be cut for a ticket even if no
// claim of others held anything.
func (p *pass) arrangeAlone(r *rank, until time.Time) error {
	pool := p.Pool.Alone(r.ticket.UID)
	pool.Claims = p.own[r.ticket.UID]
	taken := maps.Clone(p.Pool.Taken)
	if taken == nil {
		taken = map[string]string{}
	}
	maps.Copy(taken, p.Pool.Cutting.Taken)
	for _, d := range p.Pool.reservable() {
		if p.keeping.From(d.UUID, r.ticket.UID, p.now, until) != nil {
			taken[d.UUID] = "reserved for others"
		}
	}
	pool.Cutting.Taken = taken
	_, err := Arrange(pool, r.ticket.UID, r.ticket.Request, r.standing.Quota, p.now)
	return err
}

// closeCards keeps everybody behind from the cards that a plan cuts.
func (p *pass) closeCards(plan Plan) {
	for _, s := range plan.Steps {
		p.closeCard(s.CardUUID, "it is being cut")
		for _, d := range p.free {
			if d.Card == s.Card {
				p.got[d.UUID] = true
			}
		}
	}
}

func (p *pass) closeCard(uuid, why string) { p.closed[uuid] = why }

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
		if _, closed := p.closed[c.UUID]; closed || p.keptFrom(c, r.ticket.UID, until) {
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
}

func (p *pass) keepCard(c *Card) {
	p.closeCard(c.UUID, "somebody waits for it")
	for _, d := range p.free {
		if _, kept := p.kept[d.UUID]; d.Card == c.Index && !kept {
			p.kept[d.UUID] = time.Time{}
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
	if t == nil || c.MIGWaits || !c.MIG && !changes {
		return false
	}
	for name, n := range t.names {
		if part.takes(&Device{Profile: name, MemoryBytes: t.kinds[n.kind].MemoryBytes}) {
			return true
		}
	}
	return false
}

// emptiest returns the cards that may be cut, by their place in the pool, those
// with the least in use first.
func (p *pass) emptiest() []int {
	if p.emptier != nil {
		return p.emptier
	}
	used := p.usedShares()
	cards := p.Pool.Cutting.Cards
	p.emptier = make([]int, 0, len(cards))
	for i := range cards {
		if ill, _ := cards[i].unfit(); ill == "" && !p.strange(&cards[i]) {
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
	card := make(map[string]int, len(p.Pool.Devices))
	for i := range p.Pool.Devices {
		card[p.Pool.Devices[i].UUID] = p.Pool.Devices[i].Card
	}
	used := map[int]quantity.GPUShare{}
	for _, claims := range [][]Claim{p.Pool.Claims, p.granted} {
		for i := range claims {
			for _, g := range claims[i].Devices {
				if at, there := card[g.UUID]; there && claims[i].State != Released {
					used[at] += g.Share
				}
			}
		}
	}
	return used
}
