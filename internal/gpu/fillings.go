package gpu

import (
	"cmp"
	"maps"
	"slices"
)

// Fillings returns the ways to fill a card with these profiles, how many of
// each, the most instances first. Of profiles with as many compute slices it
// takes the one with the least memory. A card that offers none has no way, nor
// has one whose table can't be worked out.
func Fillings(profiles []Profile) []map[string]int {
	var plain []Profile
	for _, p := range profiles {
		at := slices.IndexFunc(plain, func(o Profile) bool { return o.Slices == p.Slices })
		switch {
		case at < 0:
			plain = append(plain, p)
		case p.MemoryBytes < plain[at].MemoryBytes:
			plain[at] = p
		}
	}
	table, err := NewTable(plain, nil)
	if err != nil || len(plain) == 0 {
		return nil
	}
	var all []map[string]int
	for _, placed := range table.Layouts() {
		filling := make(map[string]int)
		for _, p := range placed {
			filling[p.Profile]++
		}
		if !slices.ContainsFunc(all, func(o map[string]int) bool { return maps.Equal(o, filling) }) {
			all = append(all, filling)
		}
	}
	slices.SortFunc(all, func(a, b map[string]int) int {
		x, y := Cut{Instances: a}, Cut{Instances: b}
		return cmp.Or(cmp.Compare(len(y.profiles()), len(x.profiles())), slices.Compare(x.profiles(), y.profiles()))
	})
	return all
}
