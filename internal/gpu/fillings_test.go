package gpu_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
)

func TestFillingsAreTheLayoutsThatNVIDIALists(t *testing.T) {
	var got []string
	for _, filling := range gpu.Fillings(a100(4, 8)) {
		var words []string
		for _, name := range slices.Sorted(maps.Keys(filling)) {
			size, _, _ := strings.Cut(name, ".")
			words = append(words, fmt.Sprint(filling[name], "x", size))
		}
		got = append(got, strings.Join(words, " "))
	}
	want := []string{ // NVIDIA's 19 placed ones, some of them alike: a 3g at 0 leaves less room than one at 4
		"7x1g", "5x1g 1x2g", "4x1g 1x3g", "3x1g 2x2g", "3x1g 1x3g", "3x1g 1x4g", "2x1g 1x2g 1x3g", "1x1g 3x2g",
		"1x1g 1x2g 1x3g", "1x1g 1x2g 1x4g", "2x2g 1x3g", "2x3g", "1x3g 1x4g", "1x7g",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none := gpu.Fillings(nil); none != nil {
		t.Errorf("a card without MIG has %v", none)
	}
}

func TestEveryFillingIsOne(t *testing.T) {
	for _, table := range [][]gpu.Profile{a100(4, 8), a100(3, 7)} {
		for _, filling := range gpu.Fillings(table) {
			var all []string
			for name, n := range filling {
				all = append(all, slices.Repeat([]string{name}, n)...)
			}
			if _, err := gpu.PlaceLayout(table, all); err != nil {
				t.Errorf("%v: %v", filling, err)
			}
		}
	}
}
