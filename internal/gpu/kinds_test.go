package gpu_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestKindsSayWhatCouldBeHadNow(t *testing.T) {
	host := gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "1g.10gb", "1g.10gb", "1g.10gb")})
	pool := gpu.Pool{Devices: host, Claims: []gpu.Claim{hold(host, bob, gpu.Running, "1.0", "1.1")}}
	var got []string
	for _, k := range gpu.Kinds(pool, alice, withShare(quota(3, 2, false), quantity.ShareOf(1, 7)), time.Time{}) {
		code := ""
		if p, ok := errors.AsType[*problem.Error](k.Blocked); ok {
			code = p.Code
		}
		got = append(got, fmt.Sprintf("%s %s: %d of %d free, %d for you %s", k.Profile, k.Share, k.Free, k.Total, k.Most, code))
	}
	want := []string{
		"1g.10gb 1/7: 2 of 3 free, 1 for you ", "3g.40gb 3/7: 0 of 1 free, 0 for you AGGREGATE_GPU_QUOTA_EXCEEDED",
		"full 1: 1 of 1 free, 0 for you FULL_GPU_NOT_ALLOWED",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// As many as a kind tells of are granted, and no more.
func TestKindsTellWhatIsGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool, q := drawPool(t), drawQuota(t)
		for _, k := range gpu.Kinds(pool, 1, q, time.Time{}) {
			for n := 1; n <= k.Total+1; n++ {
				_, err := gpu.Allocate(pool, 1, gpu.Request{Parts: []gpu.Part{{Count: n, Profile: k.Profile}}}, q)
				if (err == nil) != (n <= k.Most) {
					t.Fatalf("%d of %+v: %v", n, k, err)
				}
			}
			if (k.Most == 0) != (k.Blocked != nil) {
				t.Fatalf("%+v", k)
			}
		}
	})
}

// On cards that may be cut, the room is what a plan finds.
func TestKindsSayWhatCouldBeMadeNow(t *testing.T) {
	for name, c := range map[string]struct {
		cards []string
		want  map[string]string // free of total
	}{
		"nothing on it": {[]string{"on"}, map[string]string{"1g.10gb": "7 of 7", "2g.20gb": "3 of 3", "3g.40gb": "2 of 2", "7g.80gb": "1 of 1", "full": "1 of 1"}},
		"in use":        {[]string{"on 3g.40gb@4!"}, map[string]string{"1g.10gb": "4 of 7", "2g.20gb": "2 of 3", "3g.40gb": "1 of 2", "7g.80gb": "0 of 1", "full": "0 of 1"}},
		"standing free": {[]string{"on 1g.10gb@6 1g.10gb@0!"}, map[string]string{"1g.10gb": "6 of 7", "3g.40gb": "1 of 2"}},
		"a stranger":    {[]string{"on 1g.10gb@6? 1g.10gb@5", "off"}, map[string]string{"1g.10gb": "8 of 14", "full": "1 of 2"}},
		"needs a reset": {[]string{"off reset", "on reset"}, map[string]string{"1g.10gb": "7 of 7", "full": "1 of 1"}},
		"a card in use": {[]string{"off!", "off"}, map[string]string{"2g.20gb": "3 of 6", "full": "1 of 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range gpu.Kinds(shop(t, c.cards...), 1, plenty(), time.Time{}) {
				if want, ok := c.want[k.Profile]; ok && want != fmt.Sprintf("%d of %d", k.Free, k.Total) {
					t.Errorf("%s: %d of %d free, want %s", k.Profile, k.Free, k.Total, want)
				}
				if k.Most != k.Free || (k.Blocked == nil) != (k.Most > 0) {
					t.Errorf("%s: room for %d, and %d to be had (%v)", k.Profile, k.Free, k.Most, k.Blocked)
				}
				if k.Share <= 0 || k.MemoryBytes <= 0 {
					t.Errorf("%+v", k)
				}
			}
		})
	}
}
