package allocator_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/store/storetest"
)

// TestWhateverPeopleDo: three people claim, start, stop, release, forget,
// adopt, wait and leave at random. Never does a device have two owners or a person more than
// their limits, a refusal leaves nothing behind, and a restart finds what was
// there.
func TestWhateverPeopleDo(t *testing.T) {
	many := storetest.Try(t, 1_000_000)
	for many.More() {
		rapid.Check(t, func(t *rapid.T) {
			dir, done := many.Folder()
			defer done()
			b := newBench(t, dir)
			defer b.close()
			t.Repeat(map[string]func(*rapid.T){
				"":        func(t *rapid.T) { many.Step(); b.mustHold(t) },
				"claim":   b.doClaim,
				"acquire": b.doAcquire,
				"state":   b.doState,
				"forget":  b.doForget,
				"extend":  b.doExtend,
				"release": b.doRelease,
				"adopt":   b.doAdopt,
				"taken":   b.doTaken,
				"join":    b.doJoin,
				"leave":   b.doLeave,
				"advance": b.doAdvance,
				"restart": func(t *rapid.T) { b.reopen(t) },
			})
		})
	}
}

// some draws one of the records; without any the action is skipped.
func (b *bench) some(t *rapid.T) container.Record {
	all := b.Records()
	if len(all) == 0 {
		t.Skip("nothing there")
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "record")]
}

// unchanged runs do, and fails if it was refused and left something behind.
func (b *bench) unchanged(t *rapid.T, do func() error) {
	b.now = b.now.Add(time.Second)
	before := b.Records()
	err := do()
	if err == nil {
		return
	}
	if s := problem.HTTPStatus(err); s == 500 {
		t.Fatalf("refused without a kind: %v", err)
	}
	if diff := cmp.Diff(before, b.Records(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("refused with %v, and yet:\n%s", err, diff)
	}
}

func (b *bench) doClaim(t *rapid.T) {
	b.unchanged(t, func() error {
		o := order(rapid.IntRange(1, 3).Draw(t, "uid"), rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"), rapid.IntRange(0, 3).Draw(t, "gpus"))
		if o.GPU != nil {
			o.GPU.All = rapid.Bool().Draw(t, "all")
			o.AtStart = rapid.Bool().Draw(t, "at start")
		}
		_, _, err := b.Claim(context.Background(), o)
		return err
	})
}

func (b *bench) doAcquire(t *rapid.T) {
	r := b.some(t)
	b.unchanged(t, func() error {
		l := bounds()
		l.GPUHoldAfterStop = quantity.None[time.Duration]()
		return b.Acquire(context.Background(), r.ID, l)
	})
}

// doState moves a record as the launcher and the reconciler do: only Acquire
// takes devices back.
func (b *bench) doState(t *rapid.T) {
	r := b.some(t)
	if r.State == gpu.Released {
		t.Skip("only Acquire gets it out of there")
	}
	b.set(t, r.ID, rapid.SampledFrom([]gpu.State{gpu.Bound, gpu.Held, gpu.Released}).Draw(t, "state"))
}

func (b *bench) doForget(t *rapid.T) {
	r := b.some(t)
	if err := b.Forget(context.Background(), r.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Record(r.ID); ok {
		t.Fatal("not forgotten")
	}
}

func (b *bench) doExtend(t *rapid.T) {
	r := b.some(t)
	want := gpu.Request{Count: rapid.IntRange(1, 2).Draw(t, "more"), All: rapid.Bool().Draw(t, "all")}
	b.unchanged(t, func() error {
		_, err := b.Extend(context.Background(), r.ID, want, bounds())
		return err
	})
	if got, _ := b.Record(r.ID); len(got.Devices) > max(bounds().MaxGPUsPerContainer.Value, len(r.Devices)) {
		t.Fatalf("%d devices in one container", len(got.Devices))
	}
}

func (b *bench) doRelease(t *rapid.T) {
	r := b.some(t)
	if len(r.Devices) == 0 {
		t.Skip("it has none")
	}
	lost := rapid.SampledFrom(r.Devices).Draw(t, "device").UUID
	if _, err := b.Release(context.Background(), r.ID, []string{lost}); err != nil {
		t.Fatal(err)
	}
	got, _ := b.Record(r.ID)
	if len(got.Devices) != len(r.Devices)-1 || slices.ContainsFunc(got.Devices, func(g gpu.Grant) bool { return g.UUID == lost }) {
		t.Fatalf("it still has %v", got.Devices)
	}
}

func (b *bench) doAdopt(t *rapid.T) {
	uid := rapid.IntRange(1, 3).Draw(t, "uid")
	name := rapid.SampledFrom([]string{"a", "x", "y"}).Draw(t, "name")
	uuid := rapid.SampledFrom([]string{"GPU-0", "MIG-0", "MIG-1", "none"}).Draw(t, "device")
	r := container.Record{Claim: gpu.Claim{UID: uid, Name: name, State: gpu.Running, ContainerID: "foreign-" + name}, Login: person(uid).Name}
	b.unchanged(t, func() error {
		_, err := b.Adopt(context.Background(), r, []string{uuid})
		return err
	})
}

func (b *bench) doTaken(t *rapid.T) {
	b.foreign = nil
	if rapid.Bool().Draw(t, "taken") {
		b.foreign = map[string]string{"MIG-2": "somebody reaches it"}
	}
	b.SetTaken(b.foreign)
}

func (b *bench) doJoin(t *rapid.T) {
	uid := rapid.IntRange(1, 3).Draw(t, "uid")
	w := allocator.Wish{Account: person(uid), Limits: bounds(), Request: gpu.Request{Count: rapid.IntRange(1, 3).Draw(t, "gpus")}}
	if rapid.Bool().Draw(t, "for a container") && len(b.Records()) > 0 {
		w.Claim = b.some(t).ID
	}
	b.unchanged(t, func() error {
		before := b.Queue()
		_, err := b.Join(context.Background(), w)
		if after := b.Queue(); err != nil && !cmp.Equal(before, after) {
			t.Fatalf("refused with %v, and yet the queue was %v and is %v", err, before, after)
		}
		return err
	})
}

func (b *bench) doLeave(t *rapid.T) {
	all := b.Queue()
	if len(all) == 0 {
		t.Skip("nobody waits")
	}
	place := all[rapid.IntRange(0, len(all)-1).Draw(t, "place")].Ticket
	if err := b.Leave(context.Background(), place.UID+1, place.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Fatalf("another leaves it: %v", err)
	}
	if err := b.Leave(context.Background(), place.UID, place.ID); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) doAdvance(t *rapid.T) {
	b.now = b.now.Add(time.Duration(rapid.IntRange(0, 15).Draw(t, "minutes")) * time.Minute)
	next, err := b.Advance(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range b.Notices() {
		if w := n.Ticket; w == nil || !w.Granted() || !b.now.Before(w.Until) || w.Until.Before(next) {
			t.Fatalf("at %s, next at %s: %+v", b.now, next, n)
		}
	}
	b.told(t, gpu.OnTerminal)
	for _, n := range b.Notices() {
		if !n.By(gpu.OnTerminal) {
			t.Fatalf("told twice: %+v", n)
		}
	}
}

// mustHold fails when a promise is broken. What an administrator adopts may
// be over its new owner's limits: it ran already.
func (b *bench) mustHold(t *rapid.T) {
	owner := map[string]string{}
	granted, adopted := map[int]int{}, map[int]bool{}
	names := map[string]bool{}
	for _, r := range b.Records() {
		name := person(r.UID).Name + "/" + r.Name
		if names[name] {
			t.Fatalf("two containers %s", name)
		}
		names[name] = true
		adopted[r.UID] = adopted[r.UID] || r.Image == ""
		for _, d := range r.Devices {
			if r.State == gpu.Released {
				continue
			}
			if owner[d.UUID] != "" {
				t.Fatalf("%s is %s's and %s's", d.UUID, owner[d.UUID], r.ID)
			}
			owner[d.UUID] = r.ID
			granted[r.UID]++
		}
	}
	for _, w := range b.Queue() {
		for _, d := range w.Ticket.Devices {
			if owner[d.UUID] != "" {
				t.Fatalf("%s is %s's and kept for %s", d.UUID, owner[d.UUID], w.Ticket.ID)
			}
			owner[d.UUID] = w.Ticket.ID
			granted[w.Ticket.UID]++
		}
	}
	for uid := 1; uid <= 3; uid++ {
		devices, share, containers := b.Used(uid)
		l := bounds()
		if devices != granted[uid] {
			t.Fatalf("uid %d holds %d devices, Used says %d", uid, granted[uid], devices)
		}
		if !adopted[uid] && (devices > l.MaxDevices.Value || share > l.MaxGPUShare.Value || containers > l.MaxContainers.Value) {
			t.Fatalf("uid %d holds %d devices, share %s, %d containers", uid, devices, share, containers)
		}
	}
}

func TestAFullDiskGrantsNothing(t *testing.T) {
	b := setup(t)
	kept := b.claim(t, 1, "kept", 1)
	b.store.broken = true
	for name, do := range map[string]func() error{
		"claim":   func() error { _, _, err := b.Claim(t.Context(), order(2, "new", 1)); return err },
		"acquire": func() error { return b.Acquire(t.Context(), kept.ID, bounds()) },
		"update": func() error {
			return b.Update(t.Context(), kept.ID, func(r *container.Record) { r.State = gpu.Released })
		},
		"forget": func() error { return b.Forget(t.Context(), kept.ID) },
		"adopt": func() error {
			_, err := b.Adopt(t.Context(), container.Record{Claim: gpu.Claim{UID: 3, Name: "x"}}, nil)
			return err
		},
		"join": func() error {
			_, err := b.Join(t.Context(), allocator.Wish{Account: person(3), Limits: bounds(), Request: gpu.Request{Count: 1}})
			return err
		},
	} {
		if err := do(); err == nil {
			t.Errorf("%s: no error", name)
		} else if name != "forget" && !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.Records(); len(got) != 1 || got[0].State != gpu.Pending || !slices.Equal(got[0].Devices, kept.Devices) {
			t.Fatalf("%s left %+v", name, got)
		}
	}
	b.store.broken = false
	b.reopen(t)
}
