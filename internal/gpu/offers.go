package gpu

import (
	"cmp"
	"maps"
	"slices"
)

// An Offer is a kind of MIG instance that can be asked for on a host.
type Offer struct {
	Profile      string
	Slices       int   // compute slices
	SlicesOfCard int   // of the largest profile of its card
	MemoryBytes  int64 // at least; cards may differ a little
}

// Offers returns what instances are to be had on these cards, now or when
// others give theirs back: what can be made, in dynamic mode, and what stands.
// The smallest come first, by compute slices, then memory: the first that is
// large enough for a wish is the best Want for it, and the others after it.
func Offers(cards []Card, p Policy) []Offer {
	all := make(map[string]Offer)
	add := func(o Offer) {
		if old, ok := all[o.Profile]; !ok || o.MemoryBytes < old.MemoryBytes {
			all[o.Profile] = o
		}
	}
	var seen []*Table
	for i := range cards {
		c := &cards[i]
		t := p.Tables.byCard[c.UUID]
		if p.Mode != MIGDynamic {
			t = nil
		}
		if t != nil && !slices.Contains(seen, t) {
			seen = append(seen, t)
			for name, n := range t.names {
				add(Offer{name, t.kinds[n.kind].Slices, t.ofCard, t.kinds[n.kind].MemoryBytes})
			}
		}
		for j := range c.Instances {
			in := &c.Instances[j]
			if p.Mode != MIGOff && (t == nil || !t.has(in.Profile)) {
				add(Offer{in.Profile, in.Slices, in.SlicesOfCard, in.MemoryBytes})
			}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Offer) int {
		return cmp.Or(cmp.Compare(a.Slices, b.Slices), cmp.Compare(a.MemoryBytes, b.MemoryBytes), cmp.Compare(a.Profile, b.Profile))
	})
}

// has reports whether the card offers a profile.
func (t *Table) has(profile string) bool {
	_, ok := t.names[profile]
	return ok
}
