package container_test

import (
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
)

func TestWhatIsTakenFromACacheIsOnesOwnAlone(t *testing.T) {
	now := time.Unix(1000, 0)
	of := func(id string, size int64, age time.Duration, owners ...int) container.CacheRecord {
		return container.CacheRecord{ID: id, Size: size, LastUsedAt: now.Add(-age), Owners: owners}
	}
	shared, busy, never := of("shared", 5, time.Hour, 1), of("busy", 5, time.Hour, 1), of("never", 5, 0, 1)
	shared.Shared, busy.InUse = true, true
	never.CreatedAt, never.LastUsedAt = now.Add(-3*time.Hour), time.Time{}
	all := []container.CacheRecord{
		of("new", 10, time.Minute, 1), of("old", 20, 2*time.Hour, 1), never, of("bobs", 7, time.Hour, 2), of("both", 7, time.Hour, 1, 2), of("nobodys", 7, time.Hour), shared, busy,
	}
	for name, c := range map[string]struct {
		p    container.CachePrune
		want string
	}{
		"what no image has":   {container.CachePrune{}, "never old new"},
		"all":                 {container.CachePrune{All: true}, "never old shared new"},
		"what is old":         {container.CachePrune{Until: now.Add(-30 * time.Minute)}, "never old"},
		"down to some bytes":  {container.CachePrune{Keep: 25}, "never old"},
		"to more than it has": {container.CachePrune{Keep: 100}, ""},
	} {
		var got []string
		for _, r := range c.p.Picks(all, 1) {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if both := all[4]; both.Charged() != 3 || !both.Of(2) || all[0].Charged() != 10 || all[5].Charged() != 7 {
		t.Error("what two may have made isn't charged in parts")
	}
}
