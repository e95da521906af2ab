package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// A Profile is one kind of MIG instance that a card offers, as its driver
// lists it.
type Profile struct {
	Name        string // "1g.10gb"
	Slices      int    // compute slices
	MemoryBytes int64
	Max         int         // most instances of it at a time on an otherwise empty card
	Placements  []Placement // where it may stand
}

// A Placement is a place for an instance in memory slices of the card.
type Placement struct {
	Start, Size int
}

// Overlaps reports whether the two share a memory slice.
func (p Placement) Overlaps(other Placement) bool {
	return p.Start < other.Start+other.Size && other.Start < p.Start+p.Size
}

// PlaceLayout finds a place for each wanted profile on an empty card, so that
// all of them fit together, and returns the places in the order of wanted. It
// reads the card's table and knows no profile itself. Of several ways it takes
// the one that stands highest, profiles with the fewest places first.
//
// The instances have no more than Capacity together. A name that isn't in the table and a layout that doesn't fit are
// ErrInvalid, with what is possible.
func PlaceLayout(profiles []Profile, wanted []string) ([]Placement, error) {
	return placeBeside(profiles, nil, wanted)
}

// placeBeside is PlaceLayout on a card with instances that stay where they
// are.
func placeBeside(profiles []Profile, standing []Placed, wanted []string) ([]Placement, error) {
	p := placer{at: make([]Placement, len(wanted))}
	for _, s := range standing {
		at := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == s.Profile })
		if at < 0 || !slices.Contains(profiles[at].Placements, s.At) {
			return nil, noLayout(profiles, wanted, s.Profile+" stands where none may")
		}
		p.standing = append(p.standing, s.At)
		p.items = append(p.items, item{profile: profiles[at]})
	}
	before := len(p.items)
	for i, name := range wanted {
		at := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
		if at < 0 {
			return nil, noLayout(profiles, wanted, "there is no profile "+name)
		}
		places := slices.SortedFunc(slices.Values(profiles[at].Placements),
			func(a, b Placement) int { return cmp.Compare(b.Start, a.Start) })
		p.items = append(p.items, item{profile: profiles[at], places: places, at: i})
	}
	if why := overCapacity(profiles, p.items); why != "" {
		return nil, noLayout(profiles, wanted, why)
	}
	p.items = p.items[before:]
	slices.SortStableFunc(p.items, func(a, b item) int {
		return cmp.Or(cmp.Compare(len(a.places), len(b.places)), cmp.Compare(a.profile.Name, b.profile.Name))
	})
	if !p.place(0) {
		return nil, noLayout(profiles, wanted, "no placement holds all of them")
	}
	return p.at, nil
}

type item struct {
	profile Profile
	places  []Placement // highest first
	at      int         // its index in wanted
}

type placer struct {
	standing []Placement
	items    []item
	at       []Placement // by index in wanted
}

// place finds places for items[k:] beside those that stand already. Equal
// profiles stand in falling order, because swapping them changes nothing.
func (p *placer) place(k int) bool {
	if k == len(p.items) {
		return true
	}
	it := p.items[k]
	for _, place := range it.places {
		if k > 0 && p.items[k-1].profile.Name == it.profile.Name && place.Start >= p.at[p.items[k-1].at].Start {
			continue
		}
		if slices.ContainsFunc(p.standing, place.Overlaps) || slices.ContainsFunc(p.items[:k], func(o item) bool { return p.at[o.at].Overlaps(place) }) {
			continue
		}
		p.at[it.at] = place
		if p.place(k + 1) {
			return true
		}
	}
	return false
}

// Capacity returns the compute slices and the memory that the instances of a
// card may have together: those of its largest profiles. Drivers round the
// memory of a profile, so half of the smallest one's is allowed on top.
func Capacity(profiles []Profile) (computeSlices int, memoryBytes int64) {
	var least, most int64
	for i, p := range profiles {
		computeSlices, most = max(computeSlices, p.Slices), max(most, p.MemoryBytes)
		if i == 0 || p.MemoryBytes < least {
			least = p.MemoryBytes
		}
	}
	return computeSlices, most + least/2
}

// overCapacity says what of the card the items exceed, whatever their places.
func overCapacity(profiles []Profile, items []item) string {
	var slicesWanted int
	var memoryWanted int64
	slicesOfCard, memory := Capacity(profiles)
	count := make(map[string]int)
	for _, it := range items {
		slicesWanted += it.profile.Slices
		memoryWanted += it.profile.MemoryBytes
		count[it.profile.Name]++
		if n := count[it.profile.Name]; n > it.profile.Max {
			return fmt.Sprintf("at most %d %s fit on a card", it.profile.Max, it.profile.Name)
		}
	}
	switch {
	case slicesWanted > slicesOfCard:
		return fmt.Sprintf("they need %d compute slices and the card has %d", slicesWanted, slicesOfCard)
	case memoryWanted > memory:
		return fmt.Sprintf("they need %d MiB of memory and the card's instances have at most %d", memoryWanted>>20, memory>>20)
	}
	return ""
}

func noLayout(profiles []Profile, wanted []string, why string) error {
	lines := make([]string, len(profiles))
	for i, p := range profiles {
		lines[i] = p.String()
	}
	return &problem.Error{
		What: "MIG layout [" + strings.Join(wanted, ", ") + "] doesn't fit",
		Why:  problem.Because(problem.ErrInvalid, why),
		Next: "The card offers " + strings.Join(lines, "; ") + ".",
	}
}

// String returns the profile with its places, "3g.40gb (at most 2, at 0 4)".
func (p Profile) String() string {
	starts := make([]string, len(p.Placements))
	for i, at := range p.Placements {
		starts[i] = fmt.Sprint(at.Start)
	}
	return fmt.Sprintf("%s (at most %d, at %s)", p.Name, p.Max, strings.Join(starts, " "))
}

// ProfileName returns the name of a profile for a driver that doesn't tell it:
// compute slices and memory, the latter as the nearest eighth of the card's,
// in whole GiB. media marks the profile that has the media engines of its
// size, "1g.10gb+me".
func ProfileName(computeSlices int, memoryBytes, cardMemoryBytes int64, media bool) string {
	const gib = 1 << 30
	eighths := math.Round(8 * float64(memoryBytes) / float64(cardMemoryBytes))
	cardGiB := math.Ceil(float64(cardMemoryBytes) / gib)
	name := fmt.Sprintf("%dg.%.0fgb", computeSlices, math.Round(eighths/8*cardGiB))
	if media {
		name += "+me"
	}
	return name
}
