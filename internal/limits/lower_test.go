package limits_test

import (
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

func TestMemoryIsLoweredAsFarAsNothingEnds(t *testing.T) {
	for name, c := range map[string]struct {
		has, wanted, least, set quantity.ByteSize
		deferred                bool
	}{
		"little is in use":           {1600, 800, 100, 800, false},
		"as much as is wanted":       {1600, 800, 800, 800, false},
		"more than is wanted":        {1600, 800, 1000, 1000, true},
		"hardly less than it has":    {1600, 800, 1550, 1600, true},
		"more than it has":           {1600, 800, 1700, 1600, true},
		"more, and there is none":    {0, 800, 1700, 1700, true},
		"little, and there was none": {0, 800, 100, 800, false},
	} {
		set, d := limits.Lower(c.has, c.wanted, c.least)
		want := limits.Deferral{}
		if c.deferred {
			want = limits.Deferral{Wanted: c.wanted, For: c.set}
		}
		if set != c.set || d != want {
			t.Errorf("%s: %d, %+v", name, set, d)
		}
	}
}

// Whatever is in use: nobody gets more than before, nothing that is in use is
// taken away, and what is wanted holds as soon as it can.
func TestLoweringNeverTakesWhatIsInUse(t *testing.T) {
	size := rapid.Int64Range(1, 1<<40)
	rapid.Check(t, func(t *rapid.T) {
		has, least := quantity.ByteSize(size.Draw(t, "has")), quantity.ByteSize(size.Draw(t, "least"))
		wanted := quantity.ByteSize(rapid.Int64Range(1, int64(has)).Draw(t, "wanted"))
		set, d := limits.Lower(has, wanted, least)
		if set > has || set < wanted || set < min(least, has) || (set == wanted) != (d == limits.Deferral{}) && wanted != has {
			t.Errorf("%d, %+v", set, d)
		}
	})
}
