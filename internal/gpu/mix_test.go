package gpu_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestAllocateByKind(t *testing.T) {
	mixed := gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"), card(2, "2g.20gb", "2g.20gb")})
	// The least instance is the only one that is large enough beside the cards.
	odd := gpu.Devices([]gpu.Card{card(0), card(1, "1g.20gb", "2g.10gb")})
	odd[1].MemoryBytes, odd[2].MemoryBytes = 20<<30, 10<<30
	sick := slices.Clone(mixed)
	sick[1].Problem = "fell off the bus"
	byAlice := func(uid int, uuid string) bool { return uid == alice && uuid == mixed[2].UUID } // 1.1
	admin := unlimited()
	admin.NameAny = true

	for name, tt := range map[string]struct {
		devices  []gpu.Device
		claims   []gpu.Claim
		reserved func(int, string) bool
		request  string
		quota    gpu.Quota
		want     string
		code     string
		kind     error
		why      string
	}{
		"a profile":                              {request: "2g.20gb", quota: quota(2, 1, false), want: "1.1"},
		"a profile twice, over cards":            {request: "3x2g.20gb", quota: quota(4, 4, false), want: "1.1 2.0 2.1"},
		"a whole card beside instances":          {request: "full", quota: quota(2, 1, true), want: "0"},
		"an instance of any kind":                {request: "mig", quota: unlimited(), want: "1.2"},
		"a mix in the order it was asked for":    {request: "2g.20gb,2x1g.10gb,full", quota: unlimited(), want: "1.1 1.2 1.3 0"},
		"any kind takes what the others leave":   {request: "2,2x1g.10gb", quota: unlimited(), want: "1.1 2.0 1.2 1.3"},
		"memory, the smallest that has so much":  {request: "15GiB", quota: unlimited(), want: "1.1"},
		"memory that only a card has":            {request: "40GiB", quota: unlimited(), want: "0"},
		"memory with an instance held by others": {request: "25GiB", claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.0")}, quota: unlimited(), want: "0"},
		"parts give way to each other":           {devices: odd, request: "mig,15GiB", quota: quota(2, 2, false), want: "1.1 1.0"},
		"a reserved one by its slot":             {request: "1.1", reserved: byAlice, quota: quota(1, 1, false), want: "1.1"},
		"a reserved one by its UUID, with others": {
			request: mixed[2].UUID + ",1g.10gb", reserved: byAlice, quota: quota(2, 2, false), want: "1.1 1.2",
		},
		"any device for an administrator": {request: "device=0,2.1", quota: admin, want: "0 2.1"},

		"a slot that nobody reserved":    {request: "1.1", quota: unlimited(), code: "DEVICE_NOT_RESERVED", kind: problem.ErrDenied, why: "device 1.1 (MIG-b-1) isn't reserved for you"},
		"a slot beside the reserved one": {request: "1.0", reserved: byAlice, quota: unlimited(), code: "DEVICE_NOT_RESERVED", kind: problem.ErrDenied},
		"a slot that isn't there":        {request: "7.1", quota: admin, code: "NO_SUCH_DEVICE", kind: problem.ErrInvalid, why: "no device 7.1"},
		"the slot of a card that is cut": {request: "device=1", quota: admin, code: "NO_SUCH_DEVICE", kind: problem.ErrInvalid, why: "no device 1"},
		"one device by both its names":   {request: "1.1," + mixed[2].UUID, quota: admin, kind: problem.ErrInvalid, why: "named twice"},
		"a named device that is in use":  {request: "1.1", claims: []gpu.Claim{hold(mixed, bob, gpu.Held, "1.1")}, quota: admin, code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "device 1.1 (MIG-b-1) is in use"},
		"a named device that is one's own": {
			request: "1.1", claims: []gpu.Claim{hold(mixed, alice, gpu.Held, "1.1")}, quota: admin, code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "is in use",
		},
		"a named device that is sick":         {devices: sick, request: "1.0", quota: admin, code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "fell off the bus"},
		"an administrator is bound by limits": {request: "device=0,2.1", quota: func() gpu.Quota { q := quota(1, 1, true); q.NameAny = true; return q }(), code: "EXCEEDS_CONTAINER_LIMIT", kind: problem.ErrLimit, why: "(2>1)"},

		"a profile that the host doesn't have": {request: "7g.80gb", quota: unlimited(), code: "NO_SUCH_DEVICE", kind: problem.ErrInvalid, why: "you asked for 7g.80gb, and this host has 0 devices of that kind"},
		"more of a profile than there are":     {request: "4x2g.20gb", quota: unlimited(), code: "NO_SUCH_DEVICE", kind: problem.ErrInvalid, why: "3 devices of that kind"},
		"more memory than there is":            {request: "100GiB", quota: unlimited(), code: "NO_SUCH_DEVICE", kind: problem.ErrInvalid},
		"a profile that others hold": {
			request: "3g.40gb", claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.0")}, quota: unlimited(), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "you asked for 3g.40gb, free now: 0; the others are in use",
		},
		"a profile that one holds oneself": {
			request: "3g.40gb", claims: []gpu.Claim{hold(mixed, alice, gpu.Running, "1.0")}, quota: unlimited(), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "besides those you hold",
		},
		"a mix of which one part is missing": {
			request: "1g.10gb,3g.40gb", claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.0")}, quota: unlimited(), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "you asked for 1g.10gb,3g.40gb, free now: 1",
		},
		"a whole card that isn't allowed":       {request: "full", quota: quota(1, 1, false), code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied, why: "allow_full_gpu is false"},
		"memory that only a forbidden card has": {request: "40GiB", quota: quota(1, 1, false), code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied},
		"memory that only a free card has": {
			request: "25GiB", claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.0")}, quota: quota(1, 1, false), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "whole cards are free, but allow_full_gpu is false",
		},
		"a mix over what a container may have": {request: "1g.10gb,2g.20gb", quota: quota(4, 1, false), code: "EXCEEDS_CONTAINER_LIMIT", kind: problem.ErrLimit, why: "(2>1)"},
		"a mix over the share": {
			request: "2g.20gb,1g.10gb", quota: withShare(quota(4, 4, false), quantity.ShareOf(2, 7)), code: "AGGREGATE_GPU_QUOTA_EXCEEDED", kind: problem.ErrLimit, why: "(0+3/7>2/7)",
		},
		"counts and shares are two limits": {request: "2x1g.10gb", quota: withShare(quota(2, 2, false), quantity.ShareOf(2, 7)), want: "1.2 1.3"},
		"the share's smallest device is not the free one": {
			request: "15GiB", claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.1", "2.0", "2.1")}, quota: withShare(quota(4, 4, false), quantity.ShareOf(2, 7)),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "smaller ones are in use",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.devices == nil {
				tt.devices = mixed
			}
			req, err := gpu.ParseRequest(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			pool := gpu.Pool{Devices: tt.devices, Claims: tt.claims, Reserved: tt.reserved}
			got, err := gpu.Allocate(pool, alice, req, tt.quota)
			check(t, got, err, tt.want, tt.code, tt.kind, tt.why)
		})
	}
}

// Profiles are called by rounded sizes: who asks for what the name says hears it.
func TestARefusalTellsOfADeviceThatIsNearlyLargeEnough(t *testing.T) {
	devices := gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "3g.40gb")})
	devices[1].MemoryBytes, devices[2].MemoryBytes = 40192<<20, 40192<<20
	req, _ := gpu.ParseRequest("40GiB")
	_, err := gpu.Allocate(gpu.Pool{Devices: devices}, alice, req, quota(1, 1, false))
	want := "3g.40gb has 39.2GiB, a little less than 40GiB: ask for --gpus 3g.40gb if that is enough."
	if p, ok := err.(*problem.Error); !ok || p.Code != "FULL_GPU_NOT_ALLOWED" || !strings.Contains(p.Next, want) { //nolint:errorlint // not wrapped
		t.Errorf("%v", problem.Lines(err))
	}
}

// A refused mix is really not to be had, and a granted one is the least: no
// choice of free devices that the quota allows has a smaller share.
func TestNoMixIsRefusedOrLargerWhereAChoiceFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool, q, req := drawPool(t), drawQuota(t), drawParts(t)
		q.NameAny = true
		got, err := gpu.Allocate(pool, 1, req, q)
		if err == nil {
			mustHold(t, pool, 1, gpu.Request{Count: req.Devices()}, q, got)
			mustServe(t, req, got)
		}
		if req.Devices() > 4 {
			return
		}
		for _, pick := range subsets(pool.Devices, req.Devices()) {
			uuids := make([]string, len(pick))
			for i, d := range pick {
				uuids[i] = d.UUID
			}
			least, unfit := gpu.Reclaim(pool, 1, uuids, q)
			switch {
			case unfit != nil || !serves(expand(req), pick):
			case err != nil:
				t.Fatalf("%s refused (%v), but %q fits", req, err, slots(least))
			case shareOf(pick) < shareOf(got):
				t.Fatalf("%s got %q, but %q fits", req, slots(got), slots(least))
			}
		}
	})
}

func shareOf(devices []gpu.Device) (sum quantity.GPUShare) {
	for _, d := range devices {
		sum += d.Share
	}
	return sum
}

// expand returns what is asked for device by device.
func expand(r gpu.Request) (all []gpu.Part) {
	for range r.Count {
		all = append(all, gpu.Part{})
	}
	for _, p := range r.Parts {
		for range p.Count {
			all = append(all, p)
		}
	}
	return all
}

func is(p gpu.Part, d gpu.Device) bool {
	switch {
	case p.Device != "":
		return d.Slot == p.Device || d.UUID == p.Device
	case p.MinMemory > 0:
		return d.MemoryBytes >= int64(p.MinMemory)
	case p.Profile == "mig":
		return d.Instance >= 0
	}
	return p.Profile == "" || d.Profile == p.Profile
}

// mustServe fails when the devices aren't what was asked for, in that order.
func mustServe(t *rapid.T, req gpu.Request, got []gpu.Device) {
	for i, p := range expand(req) {
		if !is(p, got[i]) {
			t.Fatalf("%s got %q", req, slots(got))
		}
	}
}

// serves reports whether the devices can be dealt out to the wants somehow.
func serves(wants []gpu.Part, devices []gpu.Device) bool {
	if len(wants) == 0 {
		return true
	}
	for i, d := range devices {
		if is(wants[0], d) && serves(wants[1:], slices.Delete(slices.Clone(devices), i, i+1)) {
			return true
		}
	}
	return false
}
