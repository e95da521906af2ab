package allocator_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/store"
)

// host has a whole card and three slices of another.
func host() []gpu.Device {
	all := []gpu.Device{{UUID: "GPU-0", Slot: "0", Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU}}
	for i := range 3 {
		all = append(all, gpu.Device{
			UUID: fmt.Sprintf("MIG-%d", i), Slot: fmt.Sprintf("1.%d", i), Card: 1, Instance: i, Profile: "1g.10gb", Share: quantity.ShareOf(1, 7),
		})
	}
	return all
}

// bounds are everybody's limits in these tests.
func bounds() limits.Limits {
	return limits.Limits{
		MaxDevices: quantity.To(2), MaxGPUsPerContainer: quantity.To(2), AllowFullGPU: true,
		MaxGPUShare: quantity.To(quantity.FullGPU + quantity.ShareOf(1, 7)), MaxContainers: quantity.To(3),
		GPUHoldAfterStop: quantity.To(time.Hour),
	}
}

func person(uid int) account.Account { return account.Account{UID: uid, Name: fmt.Sprint("u", uid)} }

func order(uid int, name string, gpus int) allocator.Order {
	o := allocator.Order{Account: person(uid), Limits: bounds(), Name: name, Image: "busybox", Interface: "docker"}
	if gpus > 0 {
		o.GPU = &gpu.Request{Count: gpus}
	}
	return o
}

// A flaky store can be told to fail.
type flaky struct {
	*store.Store
	broken bool
}

var errDisk = errors.New("no space left on device")

func (f *flaky) Save(ctx context.Context, r container.Record) error {
	if f.broken {
		return errDisk
	}
	return f.Store.Save(ctx, r)
}

func (f *flaky) Redeem(ctx context.Context, r container.Record, ticket string) error {
	if f.broken {
		return errDisk
	}
	return f.Store.Redeem(ctx, r, ticket)
}

func (f *flaky) SaveTicket(ctx context.Context, t gpu.Ticket) error {
	if f.broken {
		return errDisk
	}
	return f.Store.SaveTicket(ctx, t)
}

func (f *flaky) DeleteTicket(ctx context.Context, id string) error {
	if f.broken {
		return errDisk
	}
	return f.Store.DeleteTicket(ctx, id)
}

func (f *flaky) Delete(ctx context.Context, claim string) error {
	if f.broken {
		return errDisk
	}
	return f.Store.Delete(ctx, claim)
}

// A bench is an allocator on a real store.
type bench struct {
	*allocator.Allocator
	store   *flaky
	path    string
	devices []gpu.Device
	now     time.Time

	reserved []gpu.Reservation // of the limits file
	foreign  map[string]string // what somebody reaches without a claim
	priority map[int]int       // by uid
}

// T is what testing.T and rapid.T share.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

func newBench(t T, dir string) *bench {
	t.Helper()
	b := &bench{path: filepath.Join(dir, "ds01.db"), devices: host(), now: time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)}
	b.open(t)
	return b
}

func (b *bench) open(t T) {
	t.Helper()
	s, err := store.Open(context.Background(), b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.store = &flaky{Store: s}
	b.Allocator, err = allocator.New(context.Background(), b.store, func() []gpu.Device { return b.devices }, func() time.Time { return b.now })
	if err != nil {
		t.Fatal(err)
	}
	b.Govern(allocator.Site{
		Standing: func(uid int) (gpu.Standing, error) { return allocator.StandingOf(b.bounds(uid)), nil },
		Reserved: func() []gpu.Reservation { return b.reserved },
		Hold:     func() time.Duration { return 10 * time.Minute },
	})
}

// bounds are one person's limits.
func (b *bench) bounds(uid int) limits.Limits {
	l := bounds()
	l.Priority = b.priority[uid]
	return l
}

func (b *bench) close() { _ = b.store.Close() }

// reopen does what a restart of the daemon does, and fails if that forgets or
// changes anything.
func (b *bench) reopen(t T) {
	t.Helper()
	before, queue := b.Records(), b.Queue()
	b.close()
	b.open(t)
	b.SetTaken(b.foreign) // the first look at the engine finds it
	if diff := cmp.Diff(queue, b.Queue(), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(allocator.Standing{}, "Begins")); diff != "" {
		t.Fatalf("the queue before a restart and after (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before, b.Records(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("memory and store differ (-memory +store):\n%s", diff)
	}
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	return b
}

func (b *bench) claim(t *testing.T, uid int, name string, gpus int) container.Record {
	t.Helper()
	r, _, err := b.Claim(t.Context(), order(uid, name, gpus))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// set brings a record into a state, as the launcher and the reconciler do.
func (b *bench) set(t T, claim string, state gpu.State) {
	t.Helper()
	err := b.Update(context.Background(), claim, func(r *container.Record) {
		r.State = state
		if r.ContainerID == "" && state != gpu.Pending {
			r.ContainerID = "c" + claim
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
