package gpu

import (
	"cmp"
	"slices"
)

// maxTries bounds the search for a mix. One device never takes more than two;
// a mix that needs more is refused though it might fit.
const maxTries = 1000

// A pick is one instance for one want.
type pick struct {
	want    int
	bay     int
	profile string
	spot    int // -1 on a card without table
	at      Placement
	reuse   int // of the card's instances, -1 = it is made
	price   price
}

// A price says how much a place costs; the least one is taken. Its parts count
// in this order.
type price struct {
	opens  int // 1 = it takes a card that KeepFull wants whole
	reset  int // 1 = the card must be reset
	toggle int // 1 = MIG must be turned on
	loss   int // what it closes, by the table
	room   int // compute slices that are left on the card
	work   int // instances that are made or folded
	bay    int // in the order of cards
	start  int // negative: the highest place first
}

func (r price) compare(o price) int {
	return cmp.Or(cmp.Compare(r.opens, o.opens), cmp.Compare(r.reset, o.reset), cmp.Compare(r.toggle, o.toggle),
		cmp.Compare(r.loss, o.loss), cmp.Compare(r.room, o.room), cmp.Compare(r.work, o.work),
		cmp.Compare(r.bay, o.bay), cmp.Compare(r.start, o.start))
}

// size orders wants: what has the fewest places is placed first.
func (pl *planner) size(w Want) int {
	size := 0
	for i := range pl.bays {
		if t := pl.bays[i].table; t != nil && len(w) > 0 {
			if n, ok := t.names[w[0]]; ok {
				size = max(size, t.kinds[n.kind].Slices<<8-len(t.kinds[n.kind].spots))
			}
		}
	}
	return size
}

// place finds a device for the wants from order[k] on, beside what is picked.
func (pl *planner) place(k int) bool {
	if k == len(pl.order) {
		return pl.chooseWhole()
	}
	if pl.tries++; pl.tries > maxTries {
		return false
	}
	want := pl.order[k]
	for _, profile := range pl.wants[want] {
		if profile == Full {
			pl.fulls = append(pl.fulls, want)
			if pl.place(k + 1) {
				return true
			}
			pl.fulls = pl.fulls[:len(pl.fulls)-1]
			continue
		}
		if pl.placeOne(k, want, profile) {
			return true
		}
	}
	return false
}

func (pl *planner) placeOne(k, want int, profile string) bool {
	var failed []pick
	for {
		best, ok := pl.best(profile, failed)
		if !ok {
			return false
		}
		best.want = want
		before := pl.bays[best.bay]
		pl.take(best)
		if pl.place(k + 1) {
			return true
		}
		pl.bays[best.bay], pl.picks = before, pl.picks[:len(pl.picks)-1]
		failed = append(failed, best)
	}
}

func (pl *planner) take(p pick) {
	b := &pl.bays[p.bay]
	pl.picks = append(pl.picks, p)
	stays := false
	if p.reuse >= 0 {
		b.picked.add(p.reuse)
		b.stand.add(p.reuse)
		stays = b.stays.has(p.reuse)
	} else {
		b.made = append(slices.Clip(b.made), p.profile)
	}
	b.mig = true
	if p.spot < 0 {
		return
	}
	b.base = b.table.with(b.base, p.spot)
	if !stays {
		b.solid = b.table.with(b.solid, p.spot)
	}
}

// sameOutcome reports whether nothing that failed after b can succeed after a:
// the two cards differ in name only.
func (pl *planner) sameOutcome(a, b pick) bool {
	if a.bay == b.bay && a.spot == b.spot && a.reuse == b.reuse {
		return true
	}
	x, y := &pl.bays[a.bay], &pl.bays[b.bay]
	if x.stays != 0 || y.stays != 0 {
		return pl.policy.Mode == MIGStatic // there every instance of the profile is as good
	}
	if a.spot != b.spot || x.table != y.table || x.solid != y.solid || x.mig != y.mig || x.closed != y.closed || x.MIGResets != y.MIGResets {
		return false
	}
	differs := func(profile string) bool { return x.count(profile) != y.count(profile) }
	for i := range x.Instances {
		if x.stand.has(i) && differs(x.Instances[i].Profile) {
			return false
		}
	}
	return !slices.ContainsFunc(x.made, differs)
}

// best returns the place that costs least for an instance of that profile,
// save those that have failed.
func (pl *planner) best(profile string, failed []pick) (best pick, ok bool) {
	if pl.policy.Mode == MIGOff {
		return best, false
	}
	wholes := 0
	for i := range pl.bays {
		if pl.bays[i].isWhole() {
			wholes++
		}
	}
	for i := range pl.bays {
		b := &pl.bays[i]
		if b.gone || (!b.mig && !pl.takesSteps(b)) {
			continue
		}
		for p := range b.places(profile) {
			p.bay, p.price.bay = i, i
			if b.isWhole() && wholes <= pl.policy.KeepFull {
				p.price.opens = 1
			}
			same := func(f pick) bool { return pl.sameOutcome(p, f) }
			if (!ok || p.price.compare(best.price) < 0) && !slices.ContainsFunc(failed, same) {
				best, ok = p, true
			}
		}
	}
	return best, ok
}

// places yields every place for an instance of that profile on the card.
func (b *bay) places(profile string) func(yield func(pick) bool) {
	return func(yield func(pick) bool) {
		if b.reusable(profile, yield) {
			b.makeable(profile, yield)
		}
	}
}

// reusable yields the free instances of that profile.
func (b *bay) reusable(profile string, yield func(pick) bool) bool {
	for i := range b.Instances {
		f := &b.Instances[i]
		if f.Profile != profile || !b.free.has(i) || b.picked.has(i) {
			continue
		}
		p := pick{profile: profile, spot: -1, at: Placement{Start: f.Start, Size: f.Size}, reuse: i}
		if b.table != nil {
			p.spot = b.table.spot(profile, p.at)
			if p.spot < 0 || (!b.stays.has(i) && !b.room(profile, p.spot)) {
				continue // something picked stands in its place
			}
		}
		p.price = b.price(&p)
		if !yield(p) {
			return false
		}
	}
	return true
}

// makeable yields the places where an instance of that profile can be made.
func (b *bay) makeable(profile string, yield func(pick) bool) {
	if b.closed || b.table == nil {
		return
	}
	n, ok := b.table.names[profile]
	if !ok || b.count(profile) >= n.most {
		return
	}
	for _, spot := range b.table.kinds[n.kind].spots {
		if b.table.with(b.solid, spot) < 0 || b.standsFree(profile, b.table.spots[spot].at) {
			continue
		}
		p := pick{profile: profile, spot: spot, at: b.table.spots[spot].at, reuse: -1}
		p.price = b.price(&p)
		if !yield(p) {
			return
		}
	}
}

// standsFree reports whether a free instance of that profile is there already.
func (b *bay) standsFree(profile string, at Placement) bool {
	for i := range b.Instances {
		if f := &b.Instances[i]; b.free.has(i) && f.Profile == profile && f.Start == at.Start && f.Size == at.Size {
			return true
		}
	}
	return false
}

// unknownLoss is that of a place on a card without table.
const unknownLoss = 1 << 62

func (b *bay) price(p *pick) price {
	r := price{loss: unknownLoss, start: -p.at.Start}
	if !b.mig {
		r.toggle = 1
		if b.MIGResets {
			r.reset = 1
		}
	}
	if p.reuse < 0 {
		r.work++
		for i := range b.Instances {
			if f := &b.Instances[i]; b.foldable(i) && p.at.Overlaps(Placement{Start: f.Start, Size: f.Size}) {
				r.work++
			}
		}
	}
	if p.spot >= 0 {
		with := b.table.with(b.base, p.spot)
		r.loss = b.table.worth[b.base] - b.table.worth[with]
		r.room = b.table.ofCard - b.table.used[with]
	}
	return r
}
