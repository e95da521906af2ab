package allocator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestADeviceThatIsClosedIsGrantedToNobody(t *testing.T) {
	b := setup(t)
	b.devices = b.devices[1:2]
	before, open := b.Close("MIG-0")
	if len(before.Claims) > 0 {
		t.Errorf("held by %+v", before.Claims)
	}
	_, again := b.Close("MIG-0")
	open()
	if _, _, err := b.Suppose(order(1, "a", 1)); err == nil {
		t.Error("granted while it is closed for somebody")
	}
	again()
	r := b.claim(t, 1, "a", 1)
	h, open := b.Close("MIG-0")
	defer open()
	if now := b.Holds(); len(now.Claims) != 1 || now.Claims[0].ID != r.ID || len(now.Taken) > 0 {
		t.Errorf("held now: %+v", now)
	}
	if len(h.Claims) != 1 || h.Claims[0].ID != r.ID || h.Claims[0].State != gpu.Pending {
		t.Errorf("held by %+v", h.Claims)
	}
}

// Of what is withheld nobody knows when that ends: who asks is refused at once.
func TestNobodyWaitsForWhatIsWithheld(t *testing.T) {
	s := openShop(t)
	give := s.Withhold("GPU-0", "the driver hangs")
	if _, _, err := s.Claim(t.Context(), order(1, "a", 1)); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("while it is withheld: %v", err)
	}
	give()
	if _, _, err := s.Claim(t.Context(), order(1, "a", 1)); err != nil {
		t.Errorf("given back: %v", err)
	}
}

// A shop is a bench with one card that is cut for who asks: it has room for
// four instances.
type shop struct {
	*bench
	card  gpu.Card
	while func() // happens when something is made, and its owner doesn't know yet
	fails error
	steps []string // that were carried out
}

func openShop(t *testing.T, instances ...int) *shop {
	t.Helper()
	s := &shop{bench: setup(t), card: gpu.Card{
		UUID: "GPU-0", Model: "small", MemoryBytes: 4 << 30, MIG: true,
		Profiles: []gpu.Profile{
			{Name: "1g.1gb", Slices: 1, MemoryBytes: 1 << 30, Max: 4, Placements: []gpu.Placement{{Start: 0, Size: 1}, {Start: 1, Size: 1}, {Start: 2, Size: 1}, {Start: 3, Size: 1}}},
			{Name: "4g.4gb", Slices: 4, MemoryBytes: 4 << 30, Max: 1, Placements: []gpu.Placement{{Start: 0, Size: 4}}},
		},
	}}
	for _, at := range instances {
		s.make(at)
	}
	s.devices = gpu.Devices([]gpu.Card{s.card})
	tables, err := gpu.NewTables([]gpu.Card{s.card}, gpu.LabMix())
	if err != nil {
		t.Fatal(err)
	}
	s.Shape(allocator.Cards{
		List:     func() []gpu.Card { return []gpu.Card{s.card} },
		Policy:   func() gpu.Policy { return gpu.Policy{Mode: gpu.MIGDynamic, Tables: tables, Hysteresis: time.Minute} },
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return nil, nil },
		Carry:    s.carry,
	})
	return s
}

func (s *shop) make(at int) {
	s.card.Instances = append(slices.Clone(s.card.Instances), gpu.Instance{
		UUID: fmt.Sprint("MIG-", at), Index: at, Profile: "1g.1gb", Slices: 1, SlicesOfCard: 4, Start: at, Size: 1, MemoryBytes: 1 << 30,
	})
}

func (s *shop) carry(_ context.Context, steps []gpu.Step, why string) error {
	for _, step := range steps {
		if s.fails != nil {
			return s.fails
		}
		s.steps = append(s.steps, step.String()+" ("+why+")")
		if step.Verb == gpu.Create {
			s.make(step.At.Start)
		} else {
			s.card.Instances = slices.DeleteFunc(slices.Clone(s.card.Instances), func(in gpu.Instance) bool { return in.UUID == step.Instance })
		}
		s.devices = gpu.Devices([]gpu.Card{s.card})
	}
	if s.while != nil {
		s.while()
	}
	return nil
}

// What is only supposed has a kind and a model, and no UUID.
func TestWhatWouldBeMadeIsTold(t *testing.T) {
	s := openShop(t)
	if !s.HasGPUs() {
		t.Error("a host on which everything can be made has no GPUs")
	}
	r, devices, err := s.Suppose(order(1, "a", 1))
	if err != nil || len(devices) != 1 || devices[0].UUID != "" || devices[0].Model != "small" || r.Slots()[0] != "0.new" || len(s.steps) > 0 {
		t.Errorf("%+v, %v, %v", devices, r.Slots(), err)
	}
	kinds, err := s.Kinds(order(1, "a", 1))
	if err != nil || len(kinds) != 3 || kinds[0].Profile != "1g.1gb" || kinds[0].Free != 4 || kinds[0].Most != 2 {
		t.Errorf("%+v, %v", kinds, err)
	}
}

func TestWhatIsBeingMadeIsKeptForWhoAsked(t *testing.T) {
	s := openShop(t, 0)
	asked := 0
	s.while = func() {
		asked++
		if mine, others := s.Cutting(1), s.Cutting(2); len(mine) != 1 || !strings.HasSuffix(mine[0], " on card 0") || len(others) > 0 {
			t.Errorf("being made for the one who asked: %v, for another: %v", mine, others)
		}
		_, _, err := s.Suppose(order(1, "second", 1))
		if !errors.Is(err, problem.ErrLimit) {
			t.Errorf("their own limit of two, while two are being made: %v", err)
		}
		made := gpu.Part{Count: 1, Device: s.devices[len(s.devices)-1].Slot}
		for _, want := range []gpu.Request{{All: true}, {Count: 1}, {Parts: []gpu.Part{made}}, {Parts: []gpu.Part{{Count: 1, Profile: "1g.1gb"}}}} {
			o := order(2, "other", 1)
			o.GPU, o.Admin = &want, true
			if _, devices, err := s.Suppose(o); !allocator.Waitable(err) {
				t.Errorf("somebody else asks for %s: %+v, %v", want, devices, err)
			}
		}
	}
	r, devices, err := s.Claim(t.Context(), order(1, "first", 2))
	if err != nil || len(devices) != 2 || asked != 1 || r.Slots()[0] == "" {
		t.Fatalf("%+v, %v, asked %d times", devices, err, asked)
	}
	if len(s.steps) == 0 || !strings.HasSuffix(s.steps[0], "(1g.1gb, 1g.1gb for first of u1)") {
		t.Errorf("carried out: %q", s.steps)
	}
	s.while = nil
	s.claim(t, 2, "other", 1)
	s.reopen(t)
}

func TestWhatCannotBeMadeLeavesNothing(t *testing.T) {
	s := openShop(t)
	s.fails = &problem.Error{What: "Cards not changed", Why: problem.Because(problem.ErrConflict, "the driver says no")}
	_, _, err := s.Claim(t.Context(), order(1, "a", 1))
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.What != "GPU not granted" || !strings.Contains(p.Why.Error(), "the driver says no") || p.Next == "" {
		t.Errorf("got %v", err)
	}
	if all := s.Records(); len(all) > 0 {
		t.Errorf("left: %+v", all)
	}
	if devices, _, _ := s.Used(1); devices > 0 {
		t.Errorf("%d devices count for who got none", devices)
	}
	s.fails = nil
	s.claim(t, 1, "a", 2)
}

// The name is asked for once more when the device is there.
func TestANameThatWasTakenMeanwhileIsRefused(t *testing.T) {
	s := openShop(t)
	s.while = func() {
		s.while = nil
		s.claim(t, 1, "a", 0)
	}
	if _, _, err := s.Claim(t.Context(), order(1, "a", 1)); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if devices, _, _ := s.Used(1); devices > 0 {
		t.Errorf("%d devices count for who got none", devices)
	}
}

// A container whose instance was folded while it was stopped has one made again.
func TestAStartMakesAgainWhatWasFolded(t *testing.T) {
	s := openShop(t)
	o := order(1, "a", 1)
	o.AtStart = true
	r, _, err := s.Claim(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.set(t, r.ID, gpu.Released)
	for range 2 {
		if _, err := s.Cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(time.Minute)
	}
	if len(s.devices) > 0 {
		t.Fatalf("not folded: %+v", s.devices)
	}
	s.fails = problem.ErrUnavailable
	if err := s.Acquire(t.Context(), r.ID, bounds()); !errors.Is(err, s.fails) {
		t.Errorf("got %v", err)
	}
	if now, _ := s.Record(r.ID); now.State != gpu.Released {
		t.Errorf("after a start that failed: %+v", now)
	}
	s.fails = nil
	if err := s.Acquire(t.Context(), r.ID, bounds()); err != nil {
		t.Fatal(err)
	}
	if now, _ := s.Record(r.ID); now.State != gpu.Running || len(now.Devices) != 1 || now.Devices[0].UUID != s.devices[0].UUID {
		t.Errorf("%+v, there is %+v", now, s.devices)
	}
	s.reopen(t)
}

// A reboot takes every instance away. Who is stopped asks again; of a card that
// doesn't answer nobody knows.
func TestWhatARebootTookAwayIsHeldByNobody(t *testing.T) {
	for name, c := range map[string]struct {
		state, want gpu.State
		problem     string
	}{
		"stopped":                       {gpu.Held, gpu.Released, ""},
		"never started":                 {gpu.Bound, gpu.Released, ""},
		"may run":                       {gpu.Running, gpu.Running, ""},
		"on a card that doesn't answer": {gpu.Held, gpu.Held, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t, 0)
			r := s.claim(t, 1, "a", 1)
			s.set(t, r.ID, c.state)
			if _, err := s.Cut(t.Context()); err != nil {
				t.Fatal(err)
			}
			if now, _ := s.Record(r.ID); now.State != c.state {
				t.Errorf("before: %s", now.State)
			}
			s.card.Instances, s.devices, s.card.Problem = nil, nil, c.problem
			if _, err := s.Cut(t.Context()); err != nil {
				t.Fatal(err)
			}
			if now, _ := s.Record(r.ID); now.State != c.want {
				t.Errorf("%s, want %s", now.State, c.want)
			}
		})
	}
}

func TestAPlaceInTheQueueHasCardsCut(t *testing.T) {
	s := openShop(t)
	ticket, err := s.Join(t.Context(), allocator.Wish{Account: person(1), Limits: bounds(), Request: gpu.Request{Parts: []gpu.Part{{Count: 2, Profile: "1g.1gb"}}}})
	if err != nil || ticket.Granted() {
		t.Fatalf("%+v, %v", ticket, err)
	}
	s.while = func() {
		if _, _, err := s.Suppose(order(2, "b", 1)); !allocator.Waitable(err) {
			t.Errorf("somebody else gets what is being made: %v", err)
		}
	}
	if _, err := s.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ticket, err = s.Ticket(1, ticket.ID); err != nil || len(ticket.Devices) != 2 || !ticket.Until.After(s.now) {
		t.Errorf("%+v, %v", ticket, err)
	}
	s.while = nil
	s.reopen(t)
}

func TestWhoLeftTheQueueMeanwhileGetsNothing(t *testing.T) {
	s := openShop(t)
	ticket, err := s.Join(t.Context(), allocator.Wish{Account: person(1), Limits: bounds(), Request: gpu.Request{Count: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s.while = func() {
		s.while = nil
		if err := s.Leave(t.Context(), 1, ticket.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if devices, _, _ := s.Used(1); devices > 0 || len(s.Queue()) > 0 {
		t.Errorf("%d devices, queue %+v", devices, s.Queue())
	}
}

func TestWhatHasBeenFreeForLongEnoughIsFolded(t *testing.T) {
	s := openShop(t, 0, 1)
	r := s.claim(t, 1, "a", 1)
	look := func(after time.Duration, left int, due time.Duration) {
		t.Helper()
		s.now = s.now.Add(after)
		next, err := s.Cut(t.Context())
		if err != nil || len(s.devices) != left || (due == 0) != next.IsZero() || due > 0 && next.Sub(s.now) != due {
			t.Errorf("%d instances are left, more in %s, %v; want %d, more in %s", len(s.devices), next.Sub(s.now), err, left, due)
		}
	}
	look(0, 2, time.Minute) // nobody knows for how long it was free before
	look(59*time.Second, 2, time.Second)
	look(time.Second, 1, 0)
	s.set(t, r.ID, gpu.Released)
	look(0, 1, time.Minute)
	s.set(t, r.ID, gpu.Running)
	look(2*time.Minute, 1, 0)
	if err := s.Forget(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	look(0, 1, time.Minute)
	look(time.Minute, 0, 0)
	if got := s.Uses(); len(got) != 1 || got[quantity.ShareOf(1, 4)] == 0 {
		t.Errorf("used %v", got)
	}
}

func TestNothingIsCutBeforeItIsKnownWhatTheEngineRuns(t *testing.T) {
	s := openShop(t, 0)
	if _, err := s.Cut(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.SetBlind(true)
	s.now = s.now.Add(time.Hour)
	if _, err := s.Cut(t.Context()); err != nil || len(s.steps) > 0 {
		t.Errorf("%q, %v", s.steps, err)
	}
}
