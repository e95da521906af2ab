package gpu_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

func drawCards(t *rapid.T) []gpu.Card {
	n := rapid.IntRange(0, 12).Draw(t, "cards")
	cards := make([]gpu.Card, n)
	for i := range cards {
		profiles := rapid.SliceOfN(rapid.SampledFrom([]string{"1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"}), 0, 4).Draw(t, "profiles")
		cards[i] = card(i, profiles...)
		if rapid.IntRange(0, 9).Draw(t, "sick") == 0 {
			cards[i].Problem = "sick"
		}
	}
	return cards
}

func drawLimit[T int | quantity.GPUShare](t *rapid.T, most T, label string) quantity.Limit[T] {
	if rapid.Bool().Draw(t, label+" unlimited") {
		return quantity.None[T]()
	}
	return quantity.To(T(rapid.Int64Range(0, int64(most)).Draw(t, label)))
}

func drawQuota(t *rapid.T) gpu.Quota {
	return gpu.Quota{
		MaxDevices: drawLimit(t, 6, "devices"), MaxPerContainer: drawLimit(t, 4, "per container"),
		MaxShare: drawLimit(t, 4*quantity.FullGPU, "share"), AllowFull: rapid.Bool().Draw(t, "full"),
	}
}

func drawRequest(t *rapid.T) gpu.Request {
	return gpu.Request{Count: rapid.IntRange(-1, 6).Draw(t, "count"), All: rapid.IntRange(0, 3).Draw(t, "all") == 0}
}

// mustHold fails when a grant breaks a promise. claims are those before it.
func mustHold(t *rapid.T, pool gpu.Pool, uid int, req gpu.Request, q gpu.Quota, got []gpu.Device) {
	t.Helper()
	held, count, sum := map[string]bool{}, len(got), quantity.GPUShare(0)
	for _, c := range pool.Claims {
		for _, g := range c.Devices {
			if c.State == gpu.Released {
				continue
			}
			held[g.UUID] = true
			if c.UID == uid {
				count++
				sum += g.Share
			}
		}
	}
	for _, d := range got {
		_, taken := pool.Taken[d.UUID]
		switch {
		case held[d.UUID] || taken:
			t.Fatalf("%s has two owners", d.UUID)
		case d.Problem != "":
			t.Fatalf("%s is unhealthy", d.UUID)
		case d.Profile == gpu.Full && !q.AllowFull:
			t.Fatalf("%s is a whole card", d.UUID)
		}
		held[d.UUID] = true
		sum += d.Share
	}
	switch {
	case !req.All && len(got) != req.Count:
		t.Fatalf("got %d devices, asked for %d", len(got), req.Count)
	case len(got) == 0:
		t.Fatal("granted nothing without an error")
	case !q.MaxDevices.Unlimited && count > q.MaxDevices.Value:
		t.Fatalf("holds %d of %d devices", count, q.MaxDevices.Value)
	case !q.MaxPerContainer.Unlimited && len(got) > q.MaxPerContainer.Value:
		t.Fatalf("%d devices in a container of %d", len(got), q.MaxPerContainer.Value)
	case !q.MaxShare.Unlimited && sum > q.MaxShare.Value:
		t.Fatalf("holds %s of %s GPU", sum, q.MaxShare.Value)
	}
}

// Whatever is asked in whatever order, no promise is ever broken.
func TestNeverTwoOwnersNeverOverALimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := gpu.Pool{Devices: gpu.Devices(drawCards(t)), Taken: map[string]string{}}
		quotas := map[int]gpu.Quota{1: drawQuota(t), 2: drawQuota(t), 3: drawQuota(t)}
		for _, d := range pool.Devices {
			if rapid.IntRange(0, 7).Draw(t, "taken") == 0 {
				pool.Taken[d.UUID] = "quarantined"
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {},
			"allocate": func(t *rapid.T) {
				uid, req := rapid.IntRange(1, 3).Draw(t, "uid"), drawRequest(t)
				got, err := gpu.Allocate(pool, uid, req, quotas[uid])
				if err != nil {
					return
				}
				mustHold(t, pool, uid, req, quotas[uid], got)
				state := rapid.SampledFrom([]gpu.State{gpu.Pending, gpu.Bound, gpu.Running, gpu.Held}).Draw(t, "state")
				pool.Claims = append(pool.Claims, claim(uid, state, got))
			},
			"release": func(t *rapid.T) {
				if len(pool.Claims) > 0 {
					pool.Claims[rapid.IntRange(0, len(pool.Claims)-1).Draw(t, "claim")].State = gpu.Released
				}
			},
			"reclaim": func(t *rapid.T) {
				if len(pool.Claims) == 0 {
					return
				}
				c := &pool.Claims[rapid.IntRange(0, len(pool.Claims)-1).Draw(t, "claim")]
				if c.State != gpu.Released {
					return
				}
				uuids := make([]string, len(c.Devices))
				for i, g := range c.Devices {
					uuids[i] = g.UUID
				}
				got, err := gpu.Reclaim(pool, c.UID, uuids, quotas[c.UID])
				if err != nil {
					return
				}
				mustHold(t, pool, c.UID, gpu.Request{Count: len(uuids)}, quotas[c.UID], got)
				c.State = gpu.Running
			},
		})
	})
}

func claim(uid int, state gpu.State, devices []gpu.Device) gpu.Claim {
	c := gpu.Claim{UID: uid, State: state}
	for _, d := range devices {
		c.Devices = append(c.Devices, gpu.Grant{UUID: d.UUID, Slot: d.Slot, Share: d.Share})
	}
	return c
}

// A refused count is really not to be had: no choice of free devices that the
// quota allows would have met it.
func TestNoRefusalWhereAChoiceFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool, q, n := drawPool(t), drawQuota(t), rapid.IntRange(1, 3).Draw(t, "count")
		if _, err := gpu.Allocate(pool, 1, gpu.Request{Count: n}, q); err == nil {
			return
		}
		for _, pick := range subsets(pool.Devices, n) {
			uuids := make([]string, n)
			for i, d := range pick {
				uuids[i] = d.UUID
			}
			if got, err := gpu.Reclaim(pool, 1, uuids, q); err == nil {
				t.Fatalf("refused, but %q fits", slots(got))
			}
		}
	})
}

func subsets(devices []gpu.Device, n int) [][]gpu.Device {
	if n == 0 {
		return [][]gpu.Device{nil}
	}
	var all [][]gpu.Device
	for i, d := range devices {
		for _, rest := range subsets(devices[i+1:], n-1) {
			all = append(all, append([]gpu.Device{d}, rest...))
		}
	}
	return all
}

func drawPool(t *rapid.T) gpu.Pool {
	cards := drawCards(t)
	pool := gpu.Pool{Devices: gpu.Devices(cards[:min(4, len(cards))])}
	for _, d := range pool.Devices {
		if uid := rapid.IntRange(0, 3).Draw(t, "holder"); uid > 0 {
			pool.Claims = append(pool.Claims, claim(uid, gpu.Running, []gpu.Device{d}))
		}
	}
	return pool
}

// The order in which devices and claims are listed changes no answer.
func TestTheOrderOfThePoolDoesntMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool, q, req := drawPool(t), drawQuota(t), drawRequest(t)
		other := gpu.Pool{
			Devices: rapid.Permutation(pool.Devices).Draw(t, "devices"),
			Claims:  rapid.Permutation(pool.Claims).Draw(t, "claims"),
		}
		a, errA := gpu.Allocate(pool, 1, req, q)
		b, errB := gpu.Allocate(other, 1, req, q)
		if slots(a) != slots(b) || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Fatalf("%q (%v), other order %q (%v)", slots(a), errA, slots(b), errB)
		}
	})
}
