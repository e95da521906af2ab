package gpu_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

const (
	alice = 1001
	bob   = 1002
)

// standard is a host of one whole card 0 and three cards of four 1g.10gb.
func standard() []gpu.Device {
	cards := []gpu.Card{card(0)}
	for i := 1; i < 4; i++ {
		cards = append(cards, card(i, "1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb"))
	}
	return gpu.Devices(cards)
}

// whole is a host of n whole cards.
func whole(n int) []gpu.Device {
	cards := make([]gpu.Card, n)
	for i := range cards {
		cards[i] = card(i)
	}
	return gpu.Devices(cards)
}

func card(index int, profiles ...string) gpu.Card {
	c := gpu.Card{UUID: "GPU-" + string(rune('a'+index)), Index: index, Model: "A100", MemoryBytes: 80 << 30, MIG: len(profiles) > 0}
	for i, p := range profiles {
		c.Instances = append(c.Instances, gpu.Instance{
			UUID: "MIG-" + string(rune('a'+index)) + "-" + string(rune('0'+i)), Index: i, Profile: p,
			Slices: int(p[0] - '0'), SlicesOfCard: 7, MemoryBytes: int64(p[0]-'0') * 10 << 30,
		})
	}
	return c
}

// hold is a claim of uid on the devices in those slots.
func hold(devices []gpu.Device, uid int, state gpu.State, slots ...string) gpu.Claim {
	c := gpu.Claim{UID: uid, State: state}
	for _, slot := range slots {
		for _, d := range devices {
			if d.Slot == slot {
				c.Devices = append(c.Devices, gpu.Grant{UUID: d.UUID, Slot: d.Slot, Share: d.Share})
			}
		}
	}
	return c
}

func quota(devices, perContainer int, full bool) gpu.Quota {
	return gpu.Quota{
		MaxDevices: quantity.To(devices), MaxPerContainer: quantity.To(perContainer),
		MaxShare: quantity.None[quantity.GPUShare](), AllowFull: full,
	}
}

func unlimited() gpu.Quota {
	return gpu.Quota{
		MaxDevices: quantity.None[int](), MaxPerContainer: quantity.None[int](),
		MaxShare: quantity.None[quantity.GPUShare](), AllowFull: true,
	}
}

func withShare(q gpu.Quota, share quantity.GPUShare) gpu.Quota {
	q.MaxShare = quantity.To(share)
	return q
}

func slots(devices []gpu.Device) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.Slot
	}
	return strings.Join(names, " ")
}

// Slots of all twelve instances of the standard host.
var instances = strings.Fields("1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3 3.0 3.1 3.2 3.3")

func TestAllocate(t *testing.T) {
	std, full4 := standard(), whole(4)
	mixed := gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb")})
	two := gpu.Request{Count: 2}
	one, all := gpu.Request{Count: 1}, gpu.Request{All: true}
	sick := standard()
	sick[1].Problem = "fell off the bus"

	tests := map[string]struct {
		devices []gpu.Device
		claims  []gpu.Claim
		taken   map[string]string
		request gpu.Request
		quota   gpu.Quota
		want    string // slots
		code    string
		kind    error
		why     string // part of the reason
	}{
		"the first instance goes first":               {devices: std, request: one, quota: quota(2, 1, false), want: "1.0"},
		"a held instance is passed over":              {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Running, "1.0")}, request: one, quota: quota(2, 1, false), want: "1.1"},
		"a stopped container still holds":             {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Held, "1.0")}, request: one, quota: quota(2, 1, false), want: "1.1"},
		"a pending claim holds":                       {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Pending, "1.0")}, request: one, quota: quota(2, 1, false), want: "1.1"},
		"a created container holds":                   {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Bound, "1.0")}, request: one, quota: quota(2, 1, false), want: "1.1"},
		"a released claim holds nothing":              {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Released, "1.0")}, request: one, quota: quota(2, 1, false), want: "1.0"},
		"both devices of one container are held":      {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Running, "1.0", "1.1")}, request: one, quota: quota(2, 1, false), want: "1.2"},
		"a quarantined device is passed over":         {devices: std, taken: map[string]string{std[1].UUID: "quarantined container x"}, request: one, quota: quota(2, 1, false), want: "1.1"},
		"an unhealthy device is passed over":          {devices: sick, request: one, quota: quota(2, 1, false), want: "1.1"},
		"two instances come from one card":            {devices: std, request: two, quota: quota(2, 2, false), want: "1.0 1.1"},
		"the smallest instance goes first":            {devices: mixed, request: one, quota: unlimited(), want: "1.2"},
		"instances go before whole cards":             {devices: mixed, request: gpu.Request{Count: 5}, quota: unlimited(), want: "1.2 1.3 1.1 1.0 0"},
		"a whole card follows when instances are out": {devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Running, instances...)}, request: one, quota: unlimited(), want: "0"},
		"whole cards by number, not by name":          {devices: whole(12), claims: []gpu.Claim{hold(whole(12), bob, gpu.Running, "0", "1")}, request: one, quota: unlimited(), want: "2"},
		"two small shares fit a share limit of two": {
			devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Running, "1.0", "1.1")}, request: one,
			quota: withShare(quota(8, 1, false), 2*quantity.FullGPU), want: "1.2",
		},

		"at the limit": {
			devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Running, "1.0", "1.1")}, request: one, quota: quota(2, 1, false),
			code: "USER_AT_LIMIT", kind: problem.ErrLimit, why: "2/2",
		},
		"a limit of zero": {
			devices: std, request: one, quota: quota(0, 0, false), code: "USER_AT_LIMIT", kind: problem.ErrLimit, why: "0/0",
		},
		"two devices in one container count twice": {
			devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Held, "1.0", "1.1")}, request: one, quota: quota(2, 2, false),
			code: "USER_AT_LIMIT", kind: problem.ErrLimit, why: "2/2",
		},
		"more than one container may have": {
			devices: std, request: gpu.Request{Count: 3}, quota: quota(4, 2, false), code: "EXCEEDS_CONTAINER_LIMIT", kind: problem.ErrLimit, why: "(3>2)",
		},
		"held and asked together are too many": {
			devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Running, "1.0")}, request: two, quota: quota(2, 2, false),
			code: "EXCEEDS_TOTAL_LIMIT", kind: problem.ErrLimit, why: "(1+2>2)",
		},
		"the share limit is exceeded by the smallest devices": {
			devices: full4, claims: []gpu.Claim{hold(full4, alice, gpu.Running, "0", "1")}, request: one,
			quota: withShare(quota(4, 1, true), 2*quantity.FullGPU), code: "AGGREGATE_GPU_QUOTA_EXCEEDED", kind: problem.ErrLimit, why: "(2+1>2)",
		},
		"the share limit is said before the lack of devices": {
			devices: full4, claims: []gpu.Claim{hold(full4, alice, gpu.Running, "0"), hold(full4, bob, gpu.Running, "1", "2", "3")}, request: one,
			quota: withShare(quota(4, 1, true), quantity.FullGPU), code: "AGGREGATE_GPU_QUOTA_EXCEEDED", kind: problem.ErrLimit, why: "(1+1>1)",
		},
		"only devices too big for the share are free": {
			devices: mixed, claims: []gpu.Claim{hold(mixed, bob, gpu.Running, "1.1", "1.2", "1.3")}, request: one,
			quota: withShare(quota(4, 1, true), quantity.ShareOf(2, 7)), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "max_gpu_share is 2/7",
		},
		"whole cards only, and not allowed": {
			devices: full4, request: one, quota: quota(2, 1, false), code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied, why: "allow_full_gpu is false",
		},
		"more instances than the host has": {
			devices: mixed, request: gpu.Request{Count: 5}, quota: quota(8, 8, false), code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied, why: "whole card",
		},
		"instances all taken, whole card free and not allowed": {
			devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Running, instances...)}, request: one, quota: quota(2, 1, false),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "whole cards are free, but allow_full_gpu is false",
		},
		"everything taken": {
			devices: full4, claims: []gpu.Claim{hold(full4, bob, gpu.Running, "0", "1", "2", "3")}, request: one, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "free now: 0",
		},
		"no device at all":      {request: one, quota: unlimited(), code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "this host has 0"},
		"a request for nothing": {devices: std, quota: unlimited(), kind: problem.ErrInvalid, why: "0 devices"},

		"all is what one container may have": {devices: std, request: all, quota: quota(4, 2, false), want: "1.0 1.1"},
		"all is what the quota leaves":       {devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Running, "1.0")}, request: all, quota: quota(4, 8, false), want: "1.1 1.2 1.3"},
		"all is what the share leaves":       {devices: std, request: all, quota: withShare(unlimited(), quantity.ShareOf(2, 7)), want: "1.0 1.1"},
		"all without a limit is the host":    {devices: mixed, request: all, quota: unlimited(), want: "1.2 1.3 1.1 1.0 0"},
		"all leaves out whole cards":         {devices: mixed, request: all, quota: quota(8, 8, false), want: "1.2 1.3 1.1 1.0"},
		"all isn't shrunk because others hold": {
			devices: full4, claims: []gpu.Claim{hold(full4, bob, gpu.Running, "1")}, request: all, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "all means 4 devices for you and 3 would fit now",
		},
		"all isn't shrunk by a quarantined device": {
			devices: full4, taken: map[string]string{full4[0].UUID: "x"}, request: all, quota: quota(4, 4, true),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "3 would fit now",
		},
		"all leaves one's own other devices where they are": {
			devices: full4, claims: []gpu.Claim{hold(full4, alice, gpu.Running, "1")}, request: all, quota: unlimited(), want: "0 2 3",
		},
		"all at the limit": {
			devices: full4, claims: []gpu.Claim{hold(full4, alice, gpu.Running, "1")}, request: all, quota: quota(1, 1, true),
			code: "USER_AT_LIMIT", kind: problem.ErrLimit, why: "1/1",
		},
		"all with the share used up": {
			devices: full4, claims: []gpu.Claim{hold(full4, alice, gpu.Running, "1")}, request: all, quota: withShare(unlimited(), quantity.FullGPU),
			code: "AGGREGATE_GPU_QUOTA_EXCEEDED", kind: problem.ErrLimit, why: "(1+1>1)",
		},
		"all where nothing is allowed": {
			devices: full4, request: all, quota: quota(2, 2, false), code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied, why: "allow_full_gpu",
		},
		"all where nothing is free": {
			devices: full4, claims: []gpu.Claim{hold(full4, bob, gpu.Running, "0", "1", "2", "3")}, request: all, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "0 would fit now",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pool := gpu.Pool{Devices: tt.devices, Claims: tt.claims, Taken: tt.taken}
			got, err := gpu.Allocate(pool, alice, tt.request, tt.quota)
			check(t, got, err, tt.want, tt.code, tt.kind, tt.why)
		})
	}
}

func check(t *testing.T, got []gpu.Device, err error, want, code string, kind error, why string) {
	t.Helper()
	if s := slots(got); s != want {
		t.Errorf("got %q, want %q (%v)", s, want, err)
	}
	if kind == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var p *problem.Error
	if !errors.As(err, &p) || !errors.Is(err, kind) || p.Code != code || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, want %s, kind %v, with %q", problem.Describe(err), code, kind, why)
	}
	if p != nil && p.Code != "" && p.Next == "" {
		t.Errorf("%v doesn't say what to do next", err)
	}
	if strings.Contains(problem.OneLine(err), "1002") {
		t.Errorf("%v names somebody else", err)
	}
}

func TestARefusalSaysWhereTheLimitComesFrom(t *testing.T) {
	q := quota(1, 1, false)
	q.Source = map[string]string{"max_mig_instances": "groups.student, resource-limits.yaml:12"}
	devices := standard()
	_, err := gpu.Allocate(gpu.Pool{Devices: devices, Claims: []gpu.Claim{hold(devices, alice, gpu.Running, "1.0")}}, alice, gpu.Request{Count: 1}, q)
	want := []string{
		"GPU not granted",
		"you hold 1/1 devices; max_mig_instances is 1 (groups.student, resource-limits.yaml:12)",
		"Stop or remove a container that holds a GPU ('ds01 container list'), or ask an admin for more.",
	}
	if diff := cmp.Diff(want, problem.Lines(err)); diff != "" {
		t.Error(diff)
	}
}

func TestReclaim(t *testing.T) {
	std := standard()
	sick := standard()
	sick[1].Problem = "fell off the bus"
	id := func(slot string) string { return hold(std, 0, "", slot).Devices[0].UUID }

	tests := map[string]struct {
		devices []gpu.Device
		claims  []gpu.Claim
		taken   map[string]string
		uuids   []string
		quota   gpu.Quota
		want    string
		code    string
		kind    error
		why     string
	}{
		"nothing is always granted":      {devices: std, quota: quota(0, 0, false)},
		"the same devices in that order": {devices: std, uuids: []string{id("2.1"), id("1.0")}, quota: quota(2, 2, false), want: "2.1 1.0"},
		"somebody has it now": {
			devices: std, claims: []gpu.Claim{hold(std, bob, gpu.Running, "1.0")}, uuids: []string{id("1.0")}, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "device 1.0 (MIG-b-0) is in use",
		},
		"one's own other container has it now": {
			devices: std, claims: []gpu.Claim{hold(std, alice, gpu.Running, "1.0")}, uuids: []string{id("1.0")}, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "is in use",
		},
		"it is quarantined": {
			devices: std, taken: map[string]string{id("1.0"): "x"}, uuids: []string{id("1.0")}, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "is in use",
		},
		"it is unhealthy": {
			devices: sick, uuids: []string{id("1.0")}, quota: unlimited(),
			code: "NO_GPU_AVAILABLE", kind: problem.ErrExhausted, why: "fell off the bus",
		},
		"it is gone": {devices: std, uuids: []string{"MIG-old"}, quota: unlimited(), code: "DEVICE_GONE", kind: problem.ErrConflict, why: "MIG-old"},
		"the quota shrank": {
			devices: std, uuids: []string{id("1.0"), id("1.1")}, quota: quota(1, 2, false),
			code: "EXCEEDS_TOTAL_LIMIT", kind: problem.ErrLimit, why: "(0+2>1)",
		},
		"the share shrank": {
			devices: std, uuids: []string{id("1.0"), id("1.1")}, quota: withShare(unlimited(), quantity.ShareOf(1, 7)),
			code: "AGGREGATE_GPU_QUOTA_EXCEEDED", kind: problem.ErrLimit, why: "(0+2/7>1/7)",
		},
		"whole cards aren't allowed any more": {
			devices: std, uuids: []string{id("0")}, quota: quota(1, 1, false),
			code: "FULL_GPU_NOT_ALLOWED", kind: problem.ErrDenied, why: "allow_full_gpu",
		},
		"a device named twice": {devices: std, uuids: []string{id("1.0"), id("1.0")}, quota: unlimited(), kind: problem.ErrInvalid, why: "twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := gpu.Reclaim(gpu.Pool{Devices: tt.devices, Claims: tt.claims, Taken: tt.taken}, alice, tt.uuids, tt.quota)
			check(t, got, err, tt.want, tt.code, tt.kind, tt.why)
		})
	}
}

func TestDevicesSharesAndSlots(t *testing.T) {
	a30 := gpu.Card{UUID: "GPU-a30", Index: 2, MIG: true, Instances: []gpu.Instance{
		{UUID: "MIG-a30", Profile: "1g.6gb", Slices: 1, SlicesOfCard: 4, Problem: "no node"},
	}}
	empty := gpu.Card{UUID: "GPU-empty", Index: 3, MIG: true}
	lost := gpu.Card{UUID: "GPU-lost", Index: 4, Problem: "lost"}
	got := map[string]string{}
	for _, d := range gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "7g.80gb"), a30, empty, lost}) {
		got[d.Slot] = strings.TrimSpace(d.Profile + " " + d.Share.String() + " " + d.Problem)
	}
	want := map[string]string{"0": "full 1", "1.0": "3g.40gb 3/7", "1.1": "7g.80gb 1", "2.0": "1g.6gb 1/4 no node", "4": "full 1 lost"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
