package gpu_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// a100 is the table of an A100 of 80 GB; with three = 3 it is that of a card
// whose 3g takes three memory slices and whose largest takes seven.
func a100(three, seven int) []gpu.Profile {
	at := func(size int, starts ...int) []gpu.Placement {
		var p []gpu.Placement
		for _, s := range starts {
			p = append(p, gpu.Placement{Start: s, Size: size})
		}
		return p
	}
	const mib = 1 << 20
	return []gpu.Profile{
		{Name: "1g.10gb", Slices: 1, MemoryBytes: 9856 * mib, Max: 7, Placements: at(1, 0, 1, 2, 3, 4, 5, 6)},
		{Name: "1g.10gb+me", Slices: 1, MemoryBytes: 9856 * mib, Max: 1, Placements: at(1, 0, 1, 2, 3, 4, 5, 6)},
		{Name: "1g.20gb", Slices: 1, MemoryBytes: 19968 * mib, Max: 4, Placements: at(2, 0, 2, 4, 6)},
		{Name: "2g.20gb", Slices: 2, MemoryBytes: 19968 * mib, Max: 3, Placements: at(2, 0, 2, 4)},
		{Name: "3g.40gb", Slices: 3, MemoryBytes: 40192 * mib, Max: 2, Placements: at(three, 0, 4)},
		{Name: "4g.40gb", Slices: 4, MemoryBytes: 40192 * mib, Max: 1, Placements: at(4, 0)},
		{Name: "7g.80gb", Slices: 7, MemoryBytes: 80384 * mib, Max: 1, Placements: at(seven, 0)},
	}
}

func TestPlaceLayout(t *testing.T) {
	tests := map[string]struct {
		wanted string
		starts []int
		why    string
	}{
		"an empty layout is one":                 {"", nil, ""},
		"3g stands at 4 so that the rest fits":   {"3g.40gb 2g.20gb 1g.10gb 1g.10gb", []int{4, 2, 1, 0}, ""},
		"the order of the wish doesn't matter":   {"1g.10gb 2g.20gb 3g.40gb 1g.10gb", []int{1, 2, 4, 0}, ""},
		"one small instance stands at the end":   {"1g.10gb", []int{6}, ""},
		"4g pushes 3g up":                        {"3g.40gb 4g.40gb", []int{4, 0}, ""},
		"seven small ones fill the card":         {"1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb", []int{6, 5, 4, 3, 2, 1, 0}, ""},
		"the largest fills it alone":             {"7g.80gb", []int{0}, ""},
		"two 3g leave no memory for a 1g":        {"3g.40gb 3g.40gb 1g.10gb", nil, "they need 90240 MiB"},
		"two 4g don't fit":                       {"4g.40gb 4g.40gb", nil, "at most 1 4g.40gb"},
		"eight slices don't fit":                 {"4g.40gb 3g.40gb 1g.10gb", nil, "8 compute slices and the card has 7"},
		"more memory than the card has":          {"1g.20gb 1g.20gb 1g.20gb 1g.20gb 1g.10gb", nil, "MiB of memory"},
		"only one instance has the media engine": {"1g.10gb+me 1g.10gb+me", nil, "at most 1 1g.10gb+me"},
		"a profile of another card":              {"1g.5gb", nil, "there is no profile 1g.5gb"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := gpu.PlaceLayout(a100(4, 8), strings.Fields(tt.wanted))
			if tt.why != "" {
				text := problem.OneLine(err)
				if !errors.Is(err, problem.ErrInvalid) || !strings.Contains(text, tt.why) || !strings.Contains(text, "3g.40gb (at most 2, at 0 4)") {
					t.Errorf("got %v, %s", got, text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var starts []int
			for _, p := range got {
				starts = append(starts, p.Start)
			}
			if diff := cmp.Diff(tt.starts, starts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlaceLayoutRefusesPlacesThatOverlap(t *testing.T) {
	table := []gpu.Profile{
		{Name: "low", Slices: 1, Max: 1, Placements: []gpu.Placement{{Start: 0, Size: 2}}},
		{Name: "middle", Slices: 1, Max: 1, Placements: []gpu.Placement{{Start: 1, Size: 2}}},
		{Name: "all", Slices: 4, Max: 1, Placements: []gpu.Placement{{Start: 0, Size: 4}}},
	}
	got, err := gpu.PlaceLayout(table, []string{"low", "middle"})
	if !errors.Is(err, problem.ErrInvalid) || !strings.Contains(err.Error(), "no placement holds all of them") {
		t.Errorf("got %v, %v", got, err)
	}
}

// Against every way there is: a layout is found exactly where one exists, and
// it is one.
func TestPlaceLayoutFindsALayoutWhereOneExists(t *testing.T) {
	tables := map[string][]gpu.Profile{"a 3g of four memory slices": a100(4, 8), "a 3g of three": a100(3, 7)}
	for name, table := range tables {
		t.Run(name, func(t *testing.T) {
			var names []string
			for _, p := range table {
				names = append(names, p.Name)
			}
			rapid.Check(t, func(t *rapid.T) {
				wanted := rapid.SliceOfN(rapid.SampledFrom(names), 0, 8).Draw(t, "wanted")
				got, err := gpu.PlaceLayout(table, wanted)
				if possible := fits(table, wanted, nil); possible != (err == nil) {
					t.Fatalf("possible: %v, got %v, %v", possible, got, err)
				}
				if err == nil && !valid(table, wanted, got) {
					t.Fatalf("%v for %v", got, wanted)
				}
			})
		})
	}
}

// fits tries every placement of every profile, one after the other.
func fits(table []gpu.Profile, wanted []string, placed []gpu.Placement) bool {
	if len(placed) == len(wanted) {
		return valid(table, wanted, placed)
	}
	i := slices.IndexFunc(table, func(p gpu.Profile) bool { return p.Name == wanted[len(placed)] })
	return slices.ContainsFunc(table[i].Placements, func(at gpu.Placement) bool {
		free := !slices.ContainsFunc(placed, at.Overlaps)
		return free && fits(table, wanted, append(slices.Clone(placed), at))
	})
}

func valid(table []gpu.Profile, wanted []string, placed []gpu.Placement) bool {
	used, count := map[int]bool{}, map[string]int{}
	compute, memory := 0, int64(0)
	for i, name := range wanted {
		p := table[slices.IndexFunc(table, func(p gpu.Profile) bool { return p.Name == name })]
		if !slices.Contains(p.Placements, placed[i]) {
			return false
		}
		for s := placed[i].Start; s < placed[i].Start+placed[i].Size; s++ {
			if used[s] {
				return false
			}
			used[s] = true
		}
		count[name]++
		compute += p.Slices
		memory += p.MemoryBytes
		if count[name] > p.Max {
			return false
		}
	}
	largest := table[len(table)-1]
	return compute <= largest.Slices && memory <= largest.MemoryBytes
}

func TestProfileName(t *testing.T) {
	const mib = 1 << 20
	tests := map[string]struct {
		slices       int
		memory, card int64 // MiB
		media        bool
	}{
		"1g.5gb":     {1, 4864, 40960, false},
		"7g.40gb":    {7, 40192, 40960, false},
		"3g.40gb":    {3, 40192, 81920, false},
		"1g.10gb+me": {1, 9856, 81920, true},
		"1g.6gb":     {1, 5836, 24576, false},
		"4g.24gb":    {4, 23344, 24576, false},
		"1g.18gb":    {1, 18432, 144384, false},
		"3g.71gb":    {3, 72704, 144384, false},
		"1g.23gb":    {1, 23552, 184320, false},
		"7g.180gb":   {7, 184320, 184320, false},
	}
	for want, tt := range tests {
		t.Run(want, func(t *testing.T) {
			if got := gpu.ProfileName(tt.slices, tt.memory*mib, tt.card*mib, tt.media); got != want {
				t.Errorf("got %s", got)
			}
		})
	}
}
