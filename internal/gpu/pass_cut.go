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

// keepCards keeps as many cards from those behind as a waiting ticket wants
// devices: those with the least in use, since they are the next on which there
// is room. What is in use there comes back and isn't given out again, so that
// room comes in the end, however much those behind ask for.
func (p *pass) keepCards(r *rank, until time.Time) {
	used := p.usedShares()
	var cards []*Card
	for i := range p.Pool.Cutting.Cards {
		c := &p.Pool.Cutting.Cards[i]
		_, closed := p.closed[c.UUID]
		if ill, _ := c.unfit(); !closed && ill == "" && p.keeping.From(c.UUID, r.ticket.UID, p.now, until) == nil {
			cards = append(cards, c)
		}
	}
	slices.SortFunc(cards, func(a, b *Card) int {
		return cmp.Or(cmp.Compare(used[a.Index], used[b.Index]), cmp.Compare(a.Index, b.Index))
	})
	for _, c := range cards[:min(r.ticket.Request.Devices(), len(cards))] {
		p.closeCard(c.UUID, "somebody waits for it")
		for _, d := range p.free {
			if _, kept := p.kept[d.UUID]; d.Card == c.Index && !kept {
				p.kept[d.UUID] = time.Time{}
			}
		}
	}
}

// usedShares returns how much of each card is in use, by its index.
func (p *pass) usedShares() map[int]quantity.GPUShare {
	if p.used != nil {
		return p.used
	}
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
	p.used = used
	return used
}
