package gpu

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/problem"
)

// A Mix says how often each profile is asked for, in parts of any sum. A key
// is a profile's name, "1g.10gb", or compute slices, "1g", which means the
// profile with the least memory of so many. What isn't named is not expected.
type Mix map[string]int

// LabMix is what a lab asks for that has no history of its own: half of the
// requests want the smallest instance.
func LabMix() Mix { return Mix{"1g": 50, "2g": 25, "3g": 15, "4g": 5, "7g": 5} }

// of returns how often profile at is asked for.
func (m Mix) of(profiles []Profile, at int) int {
	p := profiles[at]
	n := m[p.Name]
	least := slices.IndexFunc(profiles, func(o Profile) bool {
		return o.Slices == p.Slices && !slices.ContainsFunc(profiles, func(l Profile) bool {
			return l.Slices == p.Slices && l.MemoryBytes < o.MemoryBytes
		})
	})
	if least == at {
		n += m[strconv.Itoa(p.Slices)+"g"]
	}
	return n
}

// A Placed is one instance in the layout of a card.
type Placed struct {
	Profile string
	At      Placement
}

// A Table knows every set of instances that one model of card can hold, and
// what each leaves open. It is made once and never changes, so it may be
// shared.
type Table struct {
	ofCard int // compute slices of the card
	kinds  []kind
	spots  []spot
	names  map[string]named // by profile
	sets   []uint64         // the spots of each state; state 0 is the empty card
	state  map[uint64]int   // the other way round
	used   []int            // compute slices in use, by state
	worth  []int            // by state
	next   []int            // state×spots + spot → the state with that spot too, -1 = no room
}

// A kind is what profiles have in common that take the same places with the
// same slices and memory, such as those with and without the media engines.
type kind struct {
	Profile       // of the first of them; Max is the most of any
	weight  int   // of one place that is left
	spots   []int // by number
}

// A spot is one place of one kind.
type spot struct {
	kind int
	at   Placement
	mask uint64 // memory slices
}

type named struct {
	kind, most int
}

// The most that a table holds. Real cards have a few dozen spots and thousands
// of states.
const (
	maxSpots  = 64
	maxStates = 1 << 17
)

// NewTable works out every state of a card with these profiles. A state is
// worth what it leaves open: the sum over the places where an instance could
// still go of how often such an instance is asked for, times its compute slices
// squared: once for what is lost without it, and once because the larger is the
// harder to find room for. A table that no card can have, or one too large to
// work out, is ErrInvalid.
func NewTable(profiles []Profile, mix Mix) (*Table, error) {
	t := &Table{names: make(map[string]named, len(profiles)), state: map[uint64]int{0: 0}, sets: []uint64{0}, used: []int{0}}
	for i := range profiles {
		if err := t.addProfile(profiles, i, mix); err != nil {
			return nil, err
		}
	}
	var memory int64
	t.ofCard, memory = Capacity(profiles)
	for s := 0; s < len(t.sets); s++ {
		if len(t.sets) > maxStates {
			return nil, badTable(fmt.Sprintf("they make more than %d layouts", maxStates))
		}
		t.grow(s, memory)
	}
	t.worth = make([]int, len(t.sets))
	for s := range t.sets {
		for i, sp := range t.spots {
			if t.with(s, i) >= 0 {
				t.worth[s] += t.kinds[sp.kind].weight
			}
		}
	}
	return t, nil
}

func badTable(why string) error {
	return &problem.Error{What: "MIG profiles not understood", Why: problem.Because(problem.ErrInvalid, why)}
}

func (t *Table) addProfile(profiles []Profile, at int, mix Mix) error {
	p := profiles[at]
	if _, twice := t.names[p.Name]; twice || p.Slices < 1 || p.MemoryBytes < 1 || p.Max < 1 {
		return badTable(fmt.Sprintf("profile %+v", p))
	}
	k := slices.IndexFunc(t.kinds, func(o kind) bool {
		return o.Slices == p.Slices && o.MemoryBytes == p.MemoryBytes && slices.Equal(o.Placements, p.Placements)
	})
	if k < 0 {
		k = len(t.kinds)
		own := kind{Profile: p}
		for _, place := range p.Placements {
			if place.Start < 0 || place.Size < 1 || place.Start > 64-place.Size || len(t.spots) == maxSpots {
				return badTable(fmt.Sprintf("profile %s at %d, size %d", p.Name, place.Start, place.Size))
			}
			own.spots = append(own.spots, len(t.spots))
			t.spots = append(t.spots, spot{kind: k, at: place, mask: (1<<place.Size - 1) << place.Start})
		}
		t.kinds = append(t.kinds, own)
	}
	t.kinds[k].Max = max(t.kinds[k].Max, p.Max)
	t.kinds[k].weight += mix.of(profiles, at) * p.Slices * p.Slices
	t.names[p.Name] = named{kind: k, most: p.Max}
	return nil
}

// grow adds the states that are one instance larger than s.
func (t *Table) grow(s int, memory int64) {
	var taken uint64
	left := memory
	count := make([]int, len(t.kinds))
	for set := t.sets[s]; set != 0; set &= set - 1 {
		sp := t.spots[bits.TrailingZeros64(set)]
		taken |= sp.mask
		left -= t.kinds[sp.kind].MemoryBytes
		count[sp.kind]++
	}
	for i, sp := range t.spots {
		k, to := t.kinds[sp.kind], -1
		if taken&sp.mask == 0 && count[sp.kind] < k.Max && k.MemoryBytes <= left && t.used[s]+k.Slices <= t.ofCard {
			to = t.add(t.sets[s]|1<<i, t.used[s]+k.Slices)
		}
		t.next = append(t.next, to)
	}
}

func (t *Table) add(set uint64, used int) int {
	if s, ok := t.state[set]; ok {
		return s
	}
	s := len(t.sets)
	t.state[set], t.sets, t.used = s, append(t.sets, set), append(t.used, used)
	return s
}

// with returns the state that s becomes with an instance at that spot, -1 if
// there is no room.
func (t *Table) with(s, spot int) int { return t.next[s*len(t.spots)+spot] }

// spot finds where an instance of that profile and place stands, -1 if the
// card has no such place.
func (t *Table) spot(profile string, at Placement) int {
	n, ok := t.names[profile]
	if !ok {
		return -1
	}
	for _, i := range t.kinds[n.kind].spots {
		if t.spots[i].at == at {
			return i
		}
	}
	return -1
}

// States returns how many sets of instances the card can hold, the empty one
// included.
func (t *Table) States() int { return len(t.sets) }

// Worth returns what the instances leave open, see NewTable. It is false for a
// set that the card can't hold.
func (t *Table) Worth(placed []Placed) (int, bool) {
	s := 0
	count := make(map[string]int)
	for _, p := range placed {
		i := t.spot(p.Profile, p.At)
		if count[p.Profile]++; i < 0 || count[p.Profile] > t.names[p.Profile].most {
			return 0, false
		}
		if s = t.with(s, i); s < 0 {
			return 0, false
		}
	}
	return t.worth[s], true
}

// Layouts returns the sets that nothing can be added to: all ways to fill the
// card. Profiles that take the same places stand under the first one's name.
func (t *Table) Layouts() [][]Placed {
	var all [][]Placed
	for s, set := range t.sets {
		if slices.ContainsFunc(t.next[s*len(t.spots):(s+1)*len(t.spots)], func(to int) bool { return to >= 0 }) {
			continue
		}
		var layout []Placed
		for ; set != 0; set &= set - 1 {
			sp := t.spots[bits.TrailingZeros64(set)]
			layout = append(layout, Placed{Profile: t.kinds[sp.kind].Name, At: sp.at})
		}
		all = append(all, layout)
	}
	return all
}

// Tables holds the table of each card. Cards that list the same profiles share
// one.
type Tables struct {
	byCard map[string]*Table // by UUID
}

// NewTables makes the tables of the cards. Some drivers tell profiles with MIG
// on only: a card that lists none has those of another card of its model. A
// card without profiles has no table, and no instance is made on it.
func NewTables(cards []Card, mix Mix) (Tables, error) {
	t := Tables{byCard: make(map[string]*Table, len(cards))}
	type made struct {
		profiles []Profile
		table    *Table
	}
	var all []made
	for _, c := range cards {
		profiles := ProfilesOf(cards, c)
		if len(profiles) == 0 {
			continue
		}
		at := slices.IndexFunc(all, func(m made) bool { return slices.EqualFunc(m.profiles, profiles, sameProfile) })
		if at < 0 {
			table, err := NewTable(profiles, mix)
			if err != nil {
				return Tables{}, fmt.Errorf("card %d, %s: %w", c.Index, c.Model, err)
			}
			at, all = len(all), append(all, made{profiles, table})
		}
		t.byCard[c.UUID] = all[at].table
	}
	return t, nil
}

// ProfilesOf returns the profiles that a card of these offers: its own, or
// those of another one of its model.
func ProfilesOf(cards []Card, c Card) []Profile {
	if len(c.Profiles) > 0 {
		return c.Profiles
	}
	for _, other := range cards {
		if other.Model == c.Model && other.MemoryBytes == c.MemoryBytes && len(other.Profiles) > 0 {
			return other.Profiles
		}
	}
	return nil
}

func sameProfile(a, b Profile) bool {
	return a.Name == b.Name && a.Slices == b.Slices && a.MemoryBytes == b.MemoryBytes && a.Max == b.Max &&
		slices.Equal(a.Placements, b.Placements)
}
