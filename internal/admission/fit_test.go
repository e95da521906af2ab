package admission_test

import (
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// The subject's limits: 2 GiB of memory and 3 with swap, 2 CPUs, 256 processes.
func TestAContainerIsFittedToItsOwnersLimits(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		has    map[string]any
		wishes *container.Wishes
		want   string
	}{
		"it has all that they allow": {map[string]any{}, &container.Wishes{}, `{}`},
		"they allow more, and it asked for nothing": {
			map[string]any{"Memory": gib, "MemorySwap": gib, "NanoCpus": 1_000_000_000, "PidsLimit": 10},
			&container.Wishes{},
			`{"Memory":2147483648,"NanoCpus":2000000000,"MemorySwap":3221225472,"PidsLimit":256}`,
		},
		"they allow more than it asked for": {
			map[string]any{"Memory": gib, "MemorySwap": gib, "NanoCpus": 1_000_000_000, "PidsLimit": 10},
			&container.Wishes{Memory: gib, MemorySwap: gib, NanoCPUs: 1e9, Pids: 10}, `{}`,
		},
		"they allow all that it asked for by now": {
			map[string]any{"Memory": gib, "MemorySwap": gib, "NanoCpus": 500_000_000, "PidsLimit": 5},
			&container.Wishes{Memory: gib + gib/2, NanoCPUs: 1e9, Pids: 10},
			`{"Memory":1610612736,"NanoCpus":1000000000,"MemorySwap":2684354560,"PidsLimit":10}`,
		},
		"they allow a part of what it asked for": {
			map[string]any{"Memory": gib, "MemorySwap": gib, "NanoCpus": 500_000_000, "PidsLimit": 5},
			&container.Wishes{Memory: 5 * gib, MemorySwap: 5 * gib, NanoCPUs: 9e9, Pids: 1000},
			`{"Memory":2147483648,"NanoCpus":2000000000,"MemorySwap":3221225472,"PidsLimit":256}`,
		},
		"they allow less": {
			map[string]any{"Memory": 4 * gib, "MemorySwap": 4 * gib, "NanoCpus": 3_000_000_000, "PidsLimit": 1000},
			&container.Wishes{},
			`{"Memory":2147483648,"NanoCpus":2000000000,"MemorySwap":3221225472,"PidsLimit":256}`,
		},
		"they allow more, and nobody knows what it asked for": {
			map[string]any{"Memory": gib, "MemorySwap": gib, "NanoCpus": 1_000_000_000, "PidsLimit": 10}, nil, `{}`,
		},
		"swap that isn't memory's": {map[string]any{"Memory": gib, "MemorySwap": gib}, &container.Wishes{Memory: gib}, `{"Memory":1073741824,"MemorySwap":2147483648}`},
	} {
		t.Run(name, func(t *testing.T) {
			made, _ := made(t, admission.UserNS)
			if got := encode(t, storedAs(t, made, c.has).Fit(subject(t, admission.UserNS), c.wishes)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestALimitThatIsLiftedIsLifted(t *testing.T) {
	made, _ := made(t, admission.UserNS)
	s := subject(t, admission.UserNS)
	s.Limits.Memory, s.Limits.MemorySwap = quantity.None[quantity.ByteSize](), quantity.None[quantity.ByteSize]()
	s.Limits.PidsLimit, s.Limits.MaxCPUs = quantity.None[int64](), quantity.None[quantity.CPUs]()
	s.Limits.Aggregate.CPUs = quantity.None[quantity.CPUs]()
	st := storedAs(t, made, nil)
	u := st.Fit(s, &container.Wishes{})
	if got, want := encode(t, u), `{"Memory":-1,"MemorySwap":-1,"PidsLimit":-1}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if again := st.Updated(u).Fit(s, &container.Wishes{}); !again.Empty() {
		t.Errorf("and again: %s", encode(t, again))
	}
}

// Whatever was asked for and stored: once it is fitted it stays as it is, and
// is within the limits.
func TestFittingHoldsAndIsWithinTheLimits(t *testing.T) {
	made, _ := made(t, admission.UserNS)
	s := subject(t, admission.UserNS)
	amount := rapid.OneOf(rapid.Int64Range(-1, 0), rapid.Int64Range(6<<20, 8<<30))
	rapid.Check(t, func(rt *rapid.T) {
		w := &container.Wishes{Memory: amount.Draw(rt, "memory"), NanoCPUs: amount.Draw(rt, "cpus"), Pids: rapid.Int64Range(-1, 1000).Draw(rt, "pids")}
		*w = container.Wishes{}.Lay(*w)
		if extra := amount.Draw(rt, "swap"); w.Memory > 0 && extra > 0 {
			w.MemorySwap = w.Memory + extra
		}
		st := storedAs(t, made, map[string]any{"Memory": amount.Draw(rt, "has"), "NanoCpus": amount.Draw(rt, "has cpus"), "PidsLimit": rapid.Int64Range(-1, 1000).Draw(rt, "has pids")})
		st = st.Updated(st.Fit(s, w))
		if again := st.Fit(s, w); !again.Empty() {
			rt.Errorf("and again: %s", encode(t, again))
		}
		if over := st.Fit(s, nil); !over.Empty() {
			rt.Errorf("over the limits by %s", encode(t, over))
		}
	})
}

func TestWishesOfAnUpdateLieOverThoseBefore(t *testing.T) {
	u, err := admission.DecodeUpdate([]byte(`{"Memory":64000000,"NanoCpus":-1,"PidsLimit":0}`))
	if err != nil {
		t.Fatal(err)
	}
	before := container.Wishes{Memory: 1, MemorySwap: 2, NanoCPUs: 3, Pids: 4}
	if got, want := before.Lay(u.Wishes()), (container.Wishes{Memory: 64000000, MemorySwap: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
