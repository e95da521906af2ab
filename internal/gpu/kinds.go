package gpu

import (
	"cmp"
	"slices"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A Kind is what a host has of one profile, as one person sees it.
type Kind struct {
	Profile     string
	MemoryBytes int64 // of the smallest
	Share       quantity.GPUShare
	Total       int   // devices, also those that somebody holds; where cards are cut, what they have room for
	Free        int   // that nobody holds and that can be used, or that there is room for now
	Most        int   // that one more container of theirs could have now
	Blocked     error // why Most is 0, as Allocate says it
}

// Kinds returns what the host has, the least first, and what of it the person
// could have now.
func Kinds(pool Pool, uid int, q Quota, now time.Time) []Kind {
	if pool.dynamic() {
		return kindsToCut(pool, uid, q, now)
	}
	v := survey(pool, uid, q)
	var all []Kind
	for _, d := range smallest(pointers(pool.Devices), len(pool.Devices)) {
		i := slices.IndexFunc(all, func(k Kind) bool { return k.Profile == d.Profile })
		if i < 0 {
			i, all = len(all), append(all, Kind{Profile: d.Profile, MemoryBytes: d.MemoryBytes, Share: d.Share})
		}
		all[i].Total++
	}
	for i := range all {
		k := &all[i]
		one := Part{Count: 1, Profile: k.Profile}
		mine := fitting(v.free, one)
		k.Free = len(mine) + len(fitting(v.wholeFree, one))
		if k.Most = v.fitting(smallest(mine, v.most())); k.Most == 0 {
			_, k.Blocked = Allocate(pool, uid, Request{Parts: []Part{one}}, q)
		}
	}
	return all
}

// kindsToCut is Kinds where cards may be cut.
func kindsToCut(pool Pool, uid int, q Quota, now time.Time) []Kind {
	v := survey(pool, uid, q)
	empty := Host{Cards: pool.Cutting.Cards}
	var all []Kind
	add := func(k Kind) {
		k.Total, k.Free = room(empty, k.Profile, pool.Cutting.Policy, now), room(pool.Host(), k.Profile, pool.Cutting.Policy, now)
		k.Most, k.Blocked = v.mostOf(&pool, uid, k, now)
		all = append(all, k)
	}
	for _, o := range Offers(pool.Cutting.Cards, pool.Cutting.Policy) {
		add(Kind{Profile: o.Profile, MemoryBytes: o.MemoryBytes, Share: quantity.ShareOf(o.Slices, o.SlicesOfCard)})
	}
	if len(pool.Cutting.Cards) > 0 {
		least := slices.MinFunc(pool.Cutting.Cards, func(a, b Card) int { return cmp.Compare(a.MemoryBytes, b.MemoryBytes) })
		add(Kind{Profile: Full, MemoryBytes: least.MemoryBytes, Share: quantity.FullGPU})
	}
	return all
}

// mostOf returns how many of a kind one more container could have, and why
// that is none.
func (v *view) mostOf(pool *Pool, uid int, k Kind, now time.Time) (most int, blocked error) {
	for {
		_, err := Arrange(*pool, uid, Request{Parts: []Part{{Count: most + 1, Profile: k.Profile}}}, v.quota, now)
		switch {
		case err != nil && most == 0:
			return 0, err
		case err != nil:
			return most, nil //nolint:nilerr // one more is too many
		}
		most++
	}
}

// room returns how many devices of a kind a host has room for now, together
// with those that stand free, whatever is made of the rest. Cards don't
// depend on one another.
func room(h Host, profile string, p Policy, now time.Time) int {
	pl := newPlanner(h, p, now)
	n := 0
	for i := range pl.bays {
		b := &pl.bays[i]
		switch {
		case b.gone:
		case profile == Full:
			if b.isWhole() && (!b.mig || pl.takesSteps(b)) {
				n++
			}
		case b.mig || pl.takesSteps(b):
			n += b.most(profile)
		}
	}
	return n
}

// most returns how many instances of a profile the card has room for, with
// free ones that must stay.
func (b *bay) most(profile string) int {
	n := 0
	for i := range b.Instances {
		if b.Instances[i].Profile == profile && b.free.has(i) && (b.stays.has(i) || b.table == nil) {
			n++
		}
	}
	if b.closed || b.table == nil {
		return n
	}
	if named, ok := b.table.names[profile]; ok {
		n += b.table.most(b.solid, named.kind, named.most-b.count(profile))
	}
	return n
}

// most returns how many more instances of a kind fit into a state, up to limit.
func (t *Table) most(state, kind, limit int) int {
	best := 0
	if limit < 1 {
		return 0
	}
	for _, spot := range t.kinds[kind].spots {
		if next := t.with(state, spot); next >= 0 {
			if best = max(best, 1+t.most(next, kind, limit-1)); best == limit {
				return best
			}
		}
	}
	return best
}
