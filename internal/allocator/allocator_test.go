package allocator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestOfManyAtOnceOnlyAsManyAsThereAreDevicesGetOne(t *testing.T) {
	b := setup(t)
	var group sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		group.Go(func() {
			o := order(100+i%8, fmt.Sprint("c", i), 1)
			o.Limits.MaxContainers = quantity.None[int]()
			_, _, errs[i] = b.Claim(t.Context(), o)
		})
	}
	group.Wait()
	granted, owners := 0, map[string]int{}
	for _, err := range errs {
		switch {
		case err == nil:
			granted++
		case !errors.Is(err, problem.ErrExhausted) && !errors.Is(err, problem.ErrLimit):
			t.Error(err)
		}
	}
	for _, r := range b.Records() {
		for _, d := range r.Devices {
			owners[d.UUID]++
		}
	}
	if granted != len(host()) || len(owners) != len(host()) {
		t.Errorf("%d granted, owners %v", granted, owners)
	}
	b.reopen(t)
}

func TestAClaimIsPendingAndTellsItsMounts(t *testing.T) {
	b := setup(t)
	o := order(1, "web", 1)
	o.Waits = true
	o.Mounts = func(claim string) []container.Mount { return []container.Mount{{HostPath: "/mnt/" + claim}} }
	r, devices, err := b.Claim(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.State != gpu.Pending || r.ContainerID != "" || len(r.ID) != 16 || !r.CreatedAt.Equal(b.now) || !r.Waits ||
		r.Mounts[0].HostPath != "/mnt/"+r.ID || devices[0].UUID != "MIG-0" || r.Devices[0].UUID != "MIG-0" || r.Quota.HoldAfterStop != time.Hour {
		t.Errorf("got %+v", r)
	}
	b.reopen(t)
}

func TestRefusalsSayWhy(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *bench)
		order  allocator.Order
		kind   error
		says   string
	}{
		"one's own name": {
			func(t *testing.T, b *bench) { b.claim(t, 1, "web", 0) }, order(1, "web", 0),
			problem.ErrConflict, "you have a container of that name",
		},
		"too many containers": {
			func(t *testing.T, b *bench) {
				for i := range 3 {
					b.claim(t, 1, fmt.Sprint(i), 0)
				}
			}, order(1, "web", 0), problem.ErrLimit, "you have 3 containers, your limit is 3 (max_containers_per_user",
		},
		"too many devices": {
			func(t *testing.T, b *bench) { b.claim(t, 1, "a", 2) }, order(1, "web", 1),
			problem.ErrLimit, "2/2",
		},
		"no device left": {
			func(t *testing.T, b *bench) { b.claim(t, 2, "a", 2); b.claim(t, 3, "b", 2) }, order(1, "web", 1),
			problem.ErrExhausted, "free now: 0",
		},
		"a device in quarantine": {
			func(t *testing.T, b *bench) {
				b.claim(t, 2, "a", 2)
				b.SetTaken(map[string]string{"MIG-2": "x", "GPU-0": "x"})
			}, order(1, "web", 1), problem.ErrExhausted, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			c.before(t, b)
			before := len(b.Records())
			_, _, err := b.Claim(t.Context(), c.order)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if len(b.Records()) != before {
				t.Error("it left a claim")
			}
		})
	}
}

func TestADeviceByNameIsForWhomItIsReservedAndForAdministrators(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.reserved = []gpu.Reservation{{UID: 1001, Login: "u1001", Devices: []string{b.devices[2].UUID}, From: b.now.Add(-1)}}
	b.Reservations() // has it looked up
	third := order(1001, "third", 0)
	third.GPU = &gpu.Request{Parts: []gpu.Part{{Count: 1, Device: b.devices[2].Slot}}}
	if r, _, err := b.Claim(t.Context(), third); err != nil || len(r.Devices) != 1 || r.Devices[0].UUID != b.devices[2].UUID {
		t.Errorf("reserved: %+v, %v", r.Devices, err)
	}
	last := order(1002, "last", 0)
	last.GPU = &gpu.Request{Parts: []gpu.Part{{Count: 1, Device: b.devices[1].UUID}}}
	if _, _, err := b.Suppose(last); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("not reserved: %v", err)
	}
	last.Admin = true
	if r, _, err := b.Suppose(last); err != nil || r.Devices[0].UUID != b.devices[1].UUID {
		t.Errorf("an administrator: %+v, %v", r.Devices, err)
	}
}

func TestAnothersNameIsFree(t *testing.T) {
	b := setup(t)
	b.claim(t, 1, "web", 0)
	b.claim(t, 2, "web", 0)
}

func TestAcquire(t *testing.T) {
	b := setup(t)
	r := b.claim(t, 1, "web", 2)
	b.set(t, r.ID, gpu.Held)
	err := b.Update(t.Context(), r.ID, func(c *container.Record) { c.HeldUntil = b.now.Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Acquire(t.Context(), r.ID, bounds()); err != nil {
		t.Fatal(err)
	}
	got, _ := b.Record(r.ID)
	if got.State != gpu.Running || !got.HeldUntil.IsZero() {
		t.Errorf("held: got %+v", got)
	}
	b.set(t, r.ID, gpu.Released)
	other := b.claim(t, 2, "other", 1)
	if err := b.Acquire(t.Context(), r.ID, bounds()); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("its device went to another: %v", err)
	}
	released, _ := b.Record(r.ID)
	if err := b.SupposeAcquire(released, bounds()); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("supposed, its device went to another: %v", err)
	}
	if got, _ := b.Record(r.ID); got.State != gpu.Released {
		t.Errorf("refused, and yet %s", got.State)
	}
	if err := b.Forget(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.SupposeAcquire(released, bounds()); err != nil {
		t.Error(err)
	}
	if got, _ := b.Record(r.ID); got.State != gpu.Released {
		t.Errorf("supposed, and yet %s", got.State)
	}
	if err := b.Acquire(t.Context(), r.ID, bounds()); err != nil {
		t.Error(err)
	}
	b.set(t, r.ID, gpu.Released)
	b.devices = b.devices[:1]
	if err := b.Acquire(t.Context(), r.ID, bounds()); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("the host lost its devices: %v", err)
	}
	if err := b.Acquire(t.Context(), "unknown", bounds()); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// A device that isn't granted any more isn't started on either: the container
// takes another one, where that comes to it at each start, or is refused. That the
// driver doesn't tell how a device is keeps nobody from theirs.
func TestNoContainerStartsOnADeviceThatIsOutOfService(t *testing.T) {
	for name, c := range map[string]struct {
		atStart bool
		state   gpu.State
		ails    func(d *gpu.Device, now time.Time)
		want    string // the device that it starts on; "": it doesn't
	}{
		"drained, and it takes another":   {true, gpu.Held, func(d *gpu.Device, now time.Time) { d.Problem, d.DrainedAt = "drained: a fan", now }, "MIG-1"},
		"ill, before it was ever started": {true, gpu.Bound, func(d *gpu.Device, _ time.Time) { d.Problem = "XID 79" }, "MIG-1"},
		"ill, and no other would do":      {false, gpu.Held, func(d *gpu.Device, _ time.Time) { d.Problem = "XID 79" }, ""},
		"on trial since it was drained":   {true, gpu.Held, func(d *gpu.Device, now time.Time) { d.Problem, d.DrainedAt = "drained", now.Add(-time.Hour) }, "MIG-0"},
		"the driver doesn't tell":         {true, gpu.Held, func(d *gpu.Device, _ time.Time) { d.Problem, d.Doubt = "silent", true }, "MIG-0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			o := order(1, "web", 0)
			o.GPU, o.AtStart = &gpu.Request{Parts: []gpu.Part{{Count: 1, Profile: "1g.10gb"}}}, c.atStart
			r, _, err := b.Claim(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			b.set(t, r.ID, c.state)
			b.now = b.now.Add(time.Minute)
			c.ails(&b.devices[1], b.now)
			err = b.Acquire(t.Context(), r.ID, bounds())
			got, _ := b.Record(r.ID)
			p, _ := errors.AsType[*problem.Error](err)
			switch {
			case c.want == "" && (p == nil || p.Code != "DEVICE_OUT_OF_SERVICE" || !strings.Contains(p.Why.Error(), "XID 79") || p.Next == "" || got.State != c.state):
				t.Errorf("%v; it is %s", err, got.State)
			case c.want != "" && (err != nil || got.State != gpu.Running || len(got.Devices) != 1 || got.Devices[0].UUID != c.want):
				t.Errorf("%v; it is %s on %v", err, got.State, got.Devices)
			}
			b.reopen(t)
		})
	}
}

func TestAContainerWhoseDevicesComeAtEachStartTakesOthers(t *testing.T) {
	b := setup(t)
	o := order(1, "web", 0)
	o.GPU, o.AtStart = &gpu.Request{Parts: []gpu.Part{{Count: 1, Profile: "1g.10gb"}}}, true
	r, _, err := b.Claim(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	holds := func(want string) {
		t.Helper()
		got, _ := b.Record(r.ID)
		if len(got.Devices) != 1 || got.Devices[0].UUID != want || got.State != gpu.Running {
			t.Errorf("want %s, got %s %v", want, got.State, got.Devices)
		}
	}
	start := func() error {
		b.set(t, r.ID, gpu.Released)
		return b.Acquire(t.Context(), r.ID, bounds())
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	holds("MIG-0") // still free, so the same
	b.set(t, r.ID, gpu.Released)
	b.claim(t, 2, "other", 1)
	if err := start(); err != nil {
		t.Fatal(err)
	}
	holds("MIG-1")
	b.set(t, r.ID, gpu.Released)
	b.devices = slices.DeleteFunc(b.devices, func(d gpu.Device) bool { return d.UUID == "MIG-1" }) // folded
	if err := start(); err != nil {
		t.Fatal(err)
	}
	holds("MIG-2")
	b.set(t, r.ID, gpu.Released)
	b.claim(t, 3, "last", 1)
	if err := start(); !errors.Is(err, problem.ErrExhausted) { // a whole card is free, and isn't what it asked for
		t.Errorf("got %v", err)
	}
	b.reopen(t)
}

func TestFind(t *testing.T) {
	b := setup(t)
	id := func(claim, containerID string) {
		err := b.Update(t.Context(), claim, func(r *container.Record) { r.ContainerID, r.State = containerID, gpu.Bound })
		if err != nil {
			t.Fatal(err)
		}
	}
	web, api, bobs := b.claim(t, 1, "web", 0), b.claim(t, 1, "api", 0), b.claim(t, 2, "web", 0)
	id(web.ID, "aaaa1111")
	id(api.ID, "aaaa2222")
	id(bobs.ID, "bbbb3333")
	for name, c := range map[string]struct {
		uid       int
		any       bool
		reference string
		want      string
		kind      error
	}{
		"by name":                           {1, false, "web", web.ID, nil},
		"by id":                             {1, false, "aaaa2222", api.ID, nil},
		"by the beginning of an id":         {1, false, "aaaa2", api.ID, nil},
		"by the engine's name":              {1, false, "web._.1", web.ID, nil},
		"by a beginning of two ids":         {1, false, "aaaa", "", problem.ErrConflict},
		"by one letter":                     {1, false, "a", "", problem.ErrNotFound},
		"by nothing":                        {1, false, "", "", problem.ErrNotFound},
		"another's by id":                   {1, false, "bbbb3333", "", problem.ErrNotFound},
		"another's by a beginning":          {1, false, "bbbb", "", problem.ErrNotFound},
		"another's by the engine's name":    {1, false, "web._.2", "", problem.ErrNotFound},
		"an admin means the own first":      {1, true, "web", web.ID, nil},
		"an admin finds another's by id":    {1, true, "bbbb", bobs.ID, nil},
		"an admin finds by engine's name":   {1, true, "web._.2", bobs.ID, nil},
		"an admin finds nobody's":           {1, true, "web._.3", "", problem.ErrNotFound},
		"an admin needs more than a name":   {3, true, "api", "", problem.ErrNotFound},
		"an admin's beginning of two":       {3, true, "aaaa", "", problem.ErrConflict},
		"a name wins over an id's start":    {2, false, "web", bobs.ID, nil},
		"a reference in capitals isn't one": {1, false, "WEB", "", problem.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			find := b.Find
			if c.any {
				find = b.FindAny
			}
			got, err := find(c.uid, c.reference)
			if got.ID != c.want || !errors.Is(err, c.kind) {
				t.Errorf("got %q, %v", got.ID, err)
			}
		})
	}
}

func TestTheOwnerOfARemovedContainerIsRememberedForAMoment(t *testing.T) {
	b := setup(t)
	first, second := b.claim(t, 1, "a", 0), b.claim(t, 2, "b", 0)
	b.set(t, first.ID, gpu.Bound)
	b.set(t, second.ID, gpu.Bound)
	if err := b.Forget(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if uid, ok := b.OwnerOf("c" + first.ID); !ok || uid != 1 {
		t.Errorf("owner %d, %t", uid, ok)
	}
	if _, ok := b.ByContainer("c" + first.ID); ok {
		t.Error("it has a record still")
	}
	b.now = b.now.Add(time.Hour)
	if err := b.Forget(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.OwnerOf("c" + first.ID); ok {
		t.Error("remembered for ever")
	}
	if err := b.Forget(t.Context(), "unknown"); err != nil {
		t.Error(err)
	}
}

func TestAdopt(t *testing.T) {
	b := setup(t)
	foreign := container.Record{Claim: gpu.Claim{UID: 1, Name: "old", State: gpu.Running, ContainerID: "f1"}, Login: "u1"}
	r, err := b.Adopt(t.Context(), foreign, []string{"MIG-1", "unknown"})
	if err != nil || len(r.Devices) != 1 || r.Devices[0].Slot != "1.1" || len(r.ID) != 16 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for name, second := range map[string]struct {
		record container.Record
		uuid   string
	}{
		"the name":      {container.Record{Claim: gpu.Claim{UID: 1, Name: "old", ContainerID: "f2"}}, ""},
		"the device":    {container.Record{Claim: gpu.Claim{UID: 2, Name: "x", ContainerID: "f2"}}, "MIG-1"},
		"the container": {container.Record{Claim: gpu.Claim{UID: 2, Name: "x", ContainerID: "f1"}}, ""},
	} {
		if _, err := b.Adopt(t.Context(), second.record, []string{second.uuid}); !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	b.reopen(t)
}

func TestLockKeepsOthersOutOfOneContainerOnly(t *testing.T) {
	b := setup(t)
	unlock := b.Lock("a")
	b.Lock("b")() // another's is free
	entered := make(chan struct{})
	go func() {
		defer b.Lock("a")()
		close(entered)
	}()
	select {
	case <-entered:
		t.Fatal("two are in")
	case <-time.After(20 * time.Millisecond):
	}
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.LockContext(hasty, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("who waits no longer has %v", err)
	}
	unlock()
	<-entered
	if unlock, err := b.LockContext(t.Context(), "a"); err != nil {
		t.Error(err)
	} else {
		unlock()
	}
}

func TestQuotaAndHoldOfLimits(t *testing.T) {
	q := allocator.QuotaOf(bounds())
	if q.MaxDevices.Value != 2 || q.MaxPerContainer.Value != 2 || !q.AllowFull || len(q.Source) != 4 {
		t.Errorf("got %+v", q)
	}
	l := bounds()
	if allocator.HoldOf(l) != time.Hour {
		t.Error("hold")
	}
	if l.GPUHoldAfterStop = quantity.None[time.Duration](); allocator.HoldOf(l) >= 0 {
		t.Error("no end is negative")
	}
}
