// Package nvmltest states what a GPU driver promises, as tests that run on the
// simulated driver and, where there is one, on the real one.
package nvmltest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A Driver is what both drivers can do.
type Driver interface {
	Cards(ctx context.Context) ([]gpu.Card, error)
	Readings(ctx context.Context) (map[string]gpu.Reading, error)
	DriverVersion(ctx context.Context) (string, error)
	Profiles(ctx context.Context, cardUUID string) ([]gpu.Profile, error)
	SetMIGMode(ctx context.Context, cardUUID string, on bool) (resetNeeded bool, err error)
	CreateInstance(ctx context.Context, cardUUID, profile string, start int) (gpu.Instance, error)
	DestroyInstance(ctx context.Context, uuid string) error
	Watch(ctx context.Context, tell func(gpu.Fault)) error
	Close() error
}

// Suite tests what can be tested on any driver, with whatever cards it has. It
// changes nothing: every operation it tries is one that must be refused.
func Suite(t *testing.T, newDriver func(t *testing.T) Driver) {
	t.Helper()
	t.Run("cards and instances are told apart", func(t *testing.T) { distinct(t, newDriver(t)) })
	t.Run("every device is complete", func(t *testing.T) { complete(t, newDriver(t)) })
	t.Run("listing twice gives the same", func(t *testing.T) { repeatable(t, newDriver(t)) })
	t.Run("readings are in range", func(t *testing.T) { readings(t, newDriver(t)) })
	t.Run("profiles are consistent", func(t *testing.T) { profiles(t, newDriver(t)) })
	t.Run("what can't be is refused", func(t *testing.T) { refusals(t, newDriver(t)) })
	t.Run("a cancelled call ends", func(t *testing.T) { cancelled(t, newDriver(t)) })
	t.Run("the state of each card is judged", func(t *testing.T) { judged(t, newDriver(t)) })
	t.Run("errors are listened for until one has heard enough", func(t *testing.T) { watched(t, newDriver(t)) })
	t.Run("the driver has a version", func(t *testing.T) {
		if v, err := newDriver(t).DriverVersion(t.Context()); err != nil || v == "" {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

func cards(t *testing.T, d Driver) []gpu.Card {
	t.Helper()
	all, err := d.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the driver has no card to test with")
	}
	return all
}

func distinct(t *testing.T, d Driver) {
	uuids, slots, sets := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, c := range cards(t, d) {
		if c.Index != i {
			t.Errorf("card %d is listed at %d", c.Index, i)
		}
		if !strings.HasPrefix(c.UUID, "GPU-") || uuids[c.UUID] {
			t.Errorf("card %d: UUID %q", i, c.UUID)
		}
		uuids[c.UUID] = true
		last := -1
		for _, in := range c.Instances {
			if !strings.HasPrefix(in.UUID, "MIG-") || uuids[in.UUID] {
				t.Errorf("card %d: instance UUID %q", i, in.UUID)
			}
			if in.Index <= last {
				t.Errorf("card %d: instance %d follows %d", i, in.Index, last)
			}
			uuids[in.UUID], last = true, in.Index
		}
	}
	for _, dev := range gpu.Devices(cards(t, d)) {
		var nodes strings.Builder
		for _, n := range dev.Nodes {
			nodes.WriteString(n.Name + " ")
		}
		if slots[dev.Slot] || sets[nodes.String()] {
			t.Errorf("slot %s, nodes %s: not the only one", dev.Slot, nodes.String())
		}
		slots[dev.Slot], sets[nodes.String()] = true, true
	}
}

func complete(t *testing.T, d Driver) {
	for _, c := range cards(t, d) {
		if len(c.Instances) > 0 && !c.MIG {
			t.Errorf("card %d has instances and MIG is off", c.Index)
		}
		checkInstances(t, c)
		checkPlace(t, c, cards(t, d))
	}
	for _, dev := range gpu.Devices(cards(t, d)) {
		if dev.Problem != "" {
			continue
		}
		if dev.Share <= 0 || dev.Share > quantity.FullGPU || dev.MemoryBytes <= 0 || dev.Profile == "" || dev.Model == "" || len(dev.Nodes) == 0 {
			t.Errorf("device %s: %+v", dev.Slot, dev)
		}
		numbers := map[gpu.Node]bool{}
		for _, n := range dev.Nodes {
			key := gpu.Node{Major: n.Major, Minor: n.Minor}
			if n.Name == "" || n.Major == 0 || n.Minor >= 1<<20 || numbers[key] {
				t.Errorf("device %s: node %+v", dev.Slot, n)
			}
			numbers[key] = true
		}
	}
}

// checkPlace checks where a card says it is among the others.
func checkPlace(t *testing.T, c gpu.Card, all []gpu.Card) {
	t.Helper()
	if c.NUMANode < -1 {
		t.Errorf("card %d is on NUMA node %d", c.Index, c.NUMANode)
	}
	for _, peer := range c.Peers {
		i := slices.IndexFunc(all, func(o gpu.Card) bool { return o.UUID == peer })
		if i < 0 || peer == c.UUID || (all[i].Problem == "" && c.Problem == "" && !slices.Contains(all[i].Peers, c.UUID)) {
			t.Errorf("card %d has the peer %s, which isn't one", c.Index, peer)
		}
	}
}

// checkInstances checks that the instances of a card fit on it together.
func checkInstances(t *testing.T, c gpu.Card) {
	t.Helper()
	compute, ofCard := 0, 0
	for i, in := range c.Instances {
		compute, ofCard = compute+in.Slices, in.SlicesOfCard
		if in.MemoryBytes > c.MemoryBytes {
			t.Errorf("card %d: instance %d has more memory than the card", c.Index, in.Index)
		}
		for _, other := range c.Instances[:i] {
			if place(in).Overlaps(place(other)) {
				t.Errorf("card %d: instances %d and %d overlap", c.Index, in.Index, other.Index)
			}
		}
	}
	if compute > ofCard {
		t.Errorf("card %d: instances have %d of %d slices", c.Index, compute, ofCard)
	}
}

func place(in gpu.Instance) gpu.Placement { return gpu.Placement{Start: in.Start, Size: in.Size} }

func repeatable(t *testing.T, d Driver) {
	a, b := gpu.Devices(cards(t, d)), gpu.Devices(cards(t, d))
	if len(a) != len(b) {
		t.Fatalf("%d devices, then %d", len(a), len(b))
	}
	for i := range a {
		if a[i].UUID != b[i].UUID || a[i].Slot != b[i].Slot {
			t.Errorf("%s %s, then %s %s", a[i].Slot, a[i].UUID, b[i].Slot, b[i].UUID)
		}
	}
}

func readings(t *testing.T, d Driver) {
	all, err := d.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	memory := map[string]int64{}
	for _, c := range cards(t, d) {
		memory[c.UUID] = c.MemoryBytes
		if _, ok := all[c.UUID]; !ok && c.Problem == "" {
			t.Errorf("card %d has no reading", c.Index)
		}
		for _, in := range c.Instances {
			memory[in.UUID] = in.MemoryBytes
			if r := all[in.UUID]; r.PowerWatts > 0 || r.TemperatureC > 0 {
				t.Errorf("instance %s reads power or temperature: %+v", in.UUID, r)
			}
		}
	}
	for uuid, r := range all {
		most, ok := memory[uuid]
		if !ok || r.UtilizationPercent < -1 || r.UtilizationPercent > 100 || r.MemoryUsedBytes < -1 || r.MemoryUsedBytes > most {
			t.Errorf("%s reads %+v", uuid, r)
		}
		for _, p := range r.Processes {
			if p.PID < 1 || p.MemoryBytes < -1 {
				t.Errorf("%s: process %+v", uuid, p)
			}
		}
	}
}

func profiles(t *testing.T, d Driver) {
	for _, c := range cards(t, d) {
		all, err := d.Profiles(t.Context(), c.UUID)
		if c.Problem != "" {
			refused(t, "profiles of a card with a problem", err, problem.ErrUnavailable)
			continue
		}
		if err != nil || !reflect.DeepEqual(all, c.Profiles) {
			t.Errorf("card %d is listed with profiles %v, and has %v, %v", c.Index, c.Profiles, all, err)
		}
		names := map[string]bool{}
		for _, p := range all {
			if names[p.Name] || p.Slices < 1 || p.Max < 1 || p.MemoryBytes < 1 || len(p.Placements) == 0 {
				t.Errorf("card %d: %+v", c.Index, p)
			}
			names[p.Name] = true
		}
		for _, in := range c.Instances {
			if in.Problem == "" && !names[in.Profile] {
				t.Errorf("card %d: instance %d is a %s, which the card doesn't offer", c.Index, in.Index, in.Profile)
			}
		}
	}
}

func refusals(t *testing.T, d Driver) {
	const nobody = "GPU-00000000-dead-dead-dead-000000000000"
	ctx := t.Context()
	_, err := d.SetMIGMode(ctx, nobody, true)
	refused(t, "MIG mode of an unknown card", err, problem.ErrNotFound)
	_, err = d.Profiles(ctx, nobody)
	refused(t, "profiles of an unknown card", err, problem.ErrNotFound)
	_, err = d.CreateInstance(ctx, nobody, "1g.10gb", 0)
	refused(t, "instance on an unknown card", err, problem.ErrNotFound)
	refused(t, "destroying an unknown instance", d.DestroyInstance(ctx, "MIG-00000000-dead-dead-dead-000000000000"), problem.ErrNotFound)
	for _, c := range cards(t, d) {
		if c.Problem != "" {
			continue
		}
		refused(t, "destroying a card", d.DestroyInstance(ctx, c.UUID), problem.ErrInvalid)
		kind := problem.ErrInvalid // no such profile
		if !c.MIG {
			kind = problem.ErrConflict // MIG is off
		}
		_, err := d.CreateInstance(ctx, c.UUID, "9g.999gb", 0)
		refused(t, "an instance of an unknown profile", err, kind)
		for _, in := range c.Instances {
			_, err := d.CreateInstance(ctx, c.UUID, in.Profile, 1000)
			refused(t, "an instance beyond the card", err, problem.ErrInvalid)
		}
	}
}

func cancelled(t *testing.T, d Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Cards(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Cards: %v", err)
	}
	if _, err := d.Readings(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Readings: %v", err)
	}
}

func refused(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// judged checks that a card isn't granted whose state forbids it.
func judged(t *testing.T, d Driver) {
	for _, c := range cards(t, d) {
		if why, mend := c.Health.Judge(c.Index); why != "" && (c.Problem == "" || c.Mend == "" || mend == "") {
			t.Errorf("card %d: %s, yet it is granted, or nobody says what helps: %+v", c.Index, why, c)
		}
		if c.Health.Uncorrectable < 0 {
			t.Errorf("card %d: %+v", c.Index, c.Health)
		}
	}
}

// A striker can let an error happen.
type striker interface {
	Strike(uuid string, xid int) error
}

// endsWithin is how long listening may go on when nobody wants it any more.
const endsWithin = 5 * time.Second

func watched(t *testing.T, d Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	heard, over := make(chan gpu.Fault, 8), make(chan error, 1)
	go func() { over <- d.Watch(ctx, func(f gpu.Fault) { heard <- f }) }()
	if s, ok := d.(striker); ok {
		for _, dev := range gpu.Devices(cards(t, d))[:2] {
			want := gpu.Fault{Card: cards(t, d)[dev.Card].UUID, Device: dev.UUID, XID: 48}
			if got := struck(t, s, want, heard); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
	cancel()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(endsWithin):
		t.Fatal("it still listens")
	}
}

// struck lets an error happen until it is heard: nobody knows when listening has
// begun.
func struck(t *testing.T, s striker, f gpu.Fault, heard <-chan gpu.Fault) gpu.Fault {
	t.Helper()
	deadline := time.After(endsWithin)
	for {
		if err := s.Strike(f.Device, f.XID); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case got := <-heard:
				if got.Device != f.Device {
					continue // the one before, once more
				}
				return got
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatal("nothing is heard")
			}
			break
		}
	}
}
