package gpu_test

import (
	"errors"
	"fmt"
	"testing"

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
	for _, k := range gpu.Kinds(pool, alice, withShare(quota(3, 2, false), quantity.ShareOf(1, 7))) {
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
		for _, k := range gpu.Kinds(pool, 1, q) {
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
