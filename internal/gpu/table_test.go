package gpu_test

import (
	"errors"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// only returns the profiles of those names.
func only(table []gpu.Profile, names ...string) []gpu.Profile {
	var some []gpu.Profile
	for _, p := range table {
		if slices.Contains(names, p.Name) {
			some = append(some, p)
		}
	}
	return some
}

func basic(three, seven int) []gpu.Profile {
	return only(a100(three, seven), "1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")
}

func table(t testing.TB, profiles []gpu.Profile, mix gpu.Mix) *gpu.Table {
	t.Helper()
	made, err := gpu.NewTable(profiles, mix)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// The numbers are NVIDIA's (19 ways to fill an A100) and those of a search
// that knows nothing of this one.
func TestEveryLayoutOfACardIsKnown(t *testing.T) {
	tests := map[string]struct {
		profiles        []gpu.Profile
		states, layouts int
	}{
		"the basic profiles of an A100":              {basic(4, 8), 298, 19},
		"with the one of double memory":              {only(a100(4, 8), "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"), 723, 78},
		"media engines take no other places":         {a100(4, 8), 723, 78},
		"the basic ones where a 3g has three slices": {basic(3, 7), 308, 19},
		"a card with nothing to offer":               {nil, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			made := table(t, tt.profiles, gpu.LabMix())
			if made.States() != tt.states || len(made.Layouts()) != tt.layouts {
				t.Errorf("%d states and %d layouts, want %d and %d", made.States(), len(made.Layouts()), tt.states, tt.layouts)
			}
		})
	}
}

// With a mix whose weights are the compute slices alone, what one instance
// leaves open on an empty A100 can be counted by hand.
func TestWhatOneInstanceLeavesOpen(t *testing.T) {
	made := table(t, basic(4, 8), gpu.Mix{"1g": 420, "2g": 210, "3g": 140, "4g": 105, "7g": 60})
	tests := map[string]struct {
		profile    string
		start      int
		size, want int
	}{
		"1g at the high end":         {"1g.10gb", 6, 1, 19},
		"1g beside it":               {"1g.10gb", 5, 1, 17},
		"1g among the low four":      {"1g.10gb", 2, 1, 13},
		"2g high":                    {"2g.20gb", 4, 2, 16},
		"2g low":                     {"2g.20gb", 0, 2, 12},
		"3g high":                    {"3g.40gb", 4, 4, 15},
		"3g low":                     {"3g.40gb", 0, 4, 8},
		"4g":                         {"4g.40gb", 0, 4, 8},
		"the largest leaves nothing": {"7g.80gb", 0, 8, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := made.Worth([]gpu.Placed{{Profile: tt.profile, At: gpu.Placement{Start: tt.start, Size: tt.size}}})
			if !ok || got != tt.want*420 {
				t.Errorf("got %d/420, %v, want %d", got, ok, tt.want)
			}
		})
	}
}

func TestALayoutThatTheCardCantHoldHasNoWorth(t *testing.T) {
	at := func(start, size int) gpu.Placement { return gpu.Placement{Start: start, Size: size} }
	made := table(t, a100(4, 8), gpu.LabMix())
	tests := map[string][]gpu.Placed{
		"two in one place":            {{"1g.10gb", at(0, 1)}, {"2g.20gb", at(0, 2)}},
		"a place that isn't there":    {{"3g.40gb", at(2, 4)}},
		"a size that isn't there":     {{"3g.40gb", at(4, 3)}},
		"a profile of another card":   {{"1g.5gb", at(0, 1)}},
		"two with the media engines":  {{"1g.10gb+me", at(0, 1)}, {"1g.10gb+me", at(1, 1)}},
		"more memory than there is":   {{"3g.40gb", at(0, 4)}, {"1g.20gb", at(4, 2)}, {"1g.20gb", at(6, 2)}, {"1g.10gb", at(3, 1)}},
		"more slices than the card's": {{"7g.80gb", at(0, 8)}, {"1g.10gb", at(6, 1)}},
	}
	for name, placed := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := made.Worth(placed); ok {
				t.Errorf("got %d", got)
			}
		})
	}
}

func TestATableThatNoCardHasIsRefused(t *testing.T) {
	one := gpu.Profile{Name: "1g", Slices: 1, MemoryBytes: 1, Max: 1, Placements: []gpu.Placement{{Start: 0, Size: 1}}}
	change := func(f func(p *gpu.Profile)) []gpu.Profile {
		p := one
		p.Placements = slices.Clone(p.Placements)
		f(&p)
		return []gpu.Profile{p}
	}
	wide := gpu.Profile{Name: "wide", Slices: 1, MemoryBytes: 1, Max: 40}
	for start := range 40 {
		wide.Placements = append(wide.Placements, gpu.Placement{Start: start, Size: 1})
	}
	tests := map[string][]gpu.Profile{
		"one name twice":        {one, one},
		"no slices":             change(func(p *gpu.Profile) { p.Slices = 0 }),
		"no memory":             change(func(p *gpu.Profile) { p.MemoryBytes = 0 }),
		"none at a time":        change(func(p *gpu.Profile) { p.Max = 0 }),
		"a negative place":      change(func(p *gpu.Profile) { p.Placements[0].Start = -1 }),
		"a place of no size":    change(func(p *gpu.Profile) { p.Placements[0].Size = 0 }),
		"a place beyond a card": change(func(p *gpu.Profile) { p.Placements[0].Start = 64 }),
		"too many layouts":      {wide, {Name: "all", Slices: 40, MemoryBytes: 40, Max: 1, Placements: []gpu.Placement{{Start: 0, Size: 40}}}},
	}
	for name, profiles := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := gpu.NewTable(profiles, gpu.LabMix()); !errors.Is(err, problem.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}
