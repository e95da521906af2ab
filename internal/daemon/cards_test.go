package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/inventory"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/partitioner"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/store/storetest"
)

var errKilled = errors.New("ds01 was killed")

// A node is a host with dynamic MIG and everything of ds01 that decides about
// its cards. The cards outlive ds01.
type node struct {
	*sim.Driver
	path   string
	tables gpu.Tables

	records     *store.Store
	inventory   *inventory.Inventory
	ledger      *allocator.Allocator
	partitioner *partitioner.Partitioner

	mu       sync.Mutex
	now      time.Time
	killedIn int    // calls of the driver from now; 0: it isn't
	killed   bool   // nothing has an effect until ds01 is started again
	wrong    string // what must not have happened

	slow  time.Duration // each call of the driver takes so long
	names int
	stray string // device with a process that no claim explains
}

// T is what testing.T and rapid.T share.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newNode(t T, dir string, cfg sim.Config) *node {
	t.Helper()
	d, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := d.Cards(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Driver: d, path: filepath.Join(dir, "ds01.db"), now: time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)}
	if n.tables, err = gpu.NewTables(cards, gpu.LabMix()); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return n
}

// bareCards is the driver without device nodes, which only root can make.
type bareCards struct{ *node }

func (b bareCards) Cards(ctx context.Context) ([]gpu.Card, error) {
	cards, err := b.Driver.Cards(ctx)
	for i := range cards {
		cards[i].Nodes = nil
		for j := range cards[i].Instances {
			cards[i].Instances[j].Nodes = nil
		}
	}
	return cards, err
}

func (n *node) start(t T) {
	t.Helper()
	ctx := context.Background()
	var err error
	if n.records, err = store.Open(ctx, n.path); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if n.inventory, err = inventory.New(ctx, bareCards{n}, filepath.Join(filepath.Dir(n.path), "dev"), "/nonexistent", log); err != nil {
		t.Fatal(err)
	}
	if n.ledger, err = allocator.New(ctx, n.records, n.inventory.Devices, n.clock); err != nil {
		t.Fatal(err)
	}
	n.ledger.Govern(allocator.Site{
		Standing: func(int) (gpu.Standing, error) { return allocator.StandingOf(bounds()), nil },
		Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return 10 * time.Minute },
	})
	p := partitioner.New(partitioner.Parts{
		Driver: n, Store: n.records, Ledger: n.ledger, Refresh: n.inventory.Refresh, Record: func(event.Event) {}, Log: log, Now: n.clock,
	})
	n.partitioner = p
	n.ledger.Shape(allocator.Cards{
		List: n.inventory.Cards, Readings: n.Readings, Carry: p.Carry,
		Policy: func() gpu.Policy {
			return gpu.Policy{Mode: gpu.MIGDynamic, Tables: n.tables, Hysteresis: time.Minute}
		},
	})
	n.killedIn, n.killed = 0, false
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

func (n *node) restart(t T) {
	_ = n.records.Close()
	n.start(t)
}

func (n *node) clock() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func bounds() limits.Limits {
	return limits.Limits{
		MaxDevices: quantity.To(3), MaxGPUsPerContainer: quantity.To(2), AllowFullGPU: true, MaxContainers: quantity.To(9),
		MaxGPUShare: quantity.To(quantity.FullGPU + quantity.ShareOf(3, 7)), GPUHoldAfterStop: quantity.To(time.Hour),
	}
}

// dies counts a call of the driver, and says whether ds01 is dead.
func (n *node) dies() bool {
	time.Sleep(n.slow)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killedIn > 0 {
		n.killedIn--
		n.killed = n.killed || n.killedIn == 0
	}
	return n.killed
}

// touches notes that something in use would be touched.
func (n *node) touches(ctx context.Context, uuid string) {
	held := n.held()
	readings, _ := n.Readings(ctx)
	if held[uuid] != "" || len(readings[uuid].Processes) > 0 {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wrong = fmt.Sprintf("%s, which %s has, is touched", uuid, held[uuid])
	}
}

func (n *node) DestroyInstance(ctx context.Context, uuid string) error {
	n.touches(ctx, uuid)
	if n.dies() {
		return errKilled
	}
	return n.Driver.DestroyInstance(ctx, uuid)
}

func (n *node) CreateInstance(ctx context.Context, card, profile string, start int) (gpu.Instance, error) {
	if n.dies() {
		return gpu.Instance{}, errKilled
	}
	return n.Driver.CreateInstance(ctx, card, profile, start)
}

func (n *node) SetMIGMode(ctx context.Context, card string, on bool) (bool, error) {
	n.touches(ctx, card)
	if n.dies() {
		return false, errKilled
	}
	return n.Driver.SetMIGMode(ctx, card, on)
}

// held returns who holds which device.
func (n *node) held() map[string]string {
	all := map[string]string{}
	for _, r := range n.ledger.Records() {
		for _, g := range r.Devices {
			if r.State != gpu.Released {
				all[g.UUID] = "container " + r.ID
			}
		}
	}
	for _, s := range n.ledger.Queue() {
		for _, g := range s.Ticket.Devices {
			all[g.UUID] = "ticket " + s.Ticket.ID
		}
	}
	return all
}

// check fails where a device has two owners or is gone, somebody is over a
// limit, or something in use was touched.
func (n *node) check(t T) {
	if n.wrong != "" {
		t.Fatal(n.wrong)
	}
	cards, err := n.Cards(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	there, owned := map[string]bool{}, map[string]bool{}
	for _, d := range gpu.Devices(cards) {
		there[d.UUID] = true
	}
	grants := map[int][]gpu.Grant{}
	for _, r := range n.ledger.Records() {
		if r.State != gpu.Released {
			grants[r.UID] = append(grants[r.UID], r.Devices...)
		}
	}
	for _, s := range n.ledger.Queue() {
		grants[s.Ticket.UID] = append(grants[s.Ticket.UID], s.Ticket.Devices...)
	}
	for uid, all := range grants {
		var share quantity.GPUShare
		for _, g := range all {
			if owned[g.UUID] || !there[g.UUID] {
				t.Fatalf("%s of %d has two owners or is gone", g.UUID, uid)
			}
			owned[g.UUID] = true
			share += g.Share
		}
		if l := bounds(); len(all) > l.MaxDevices.Value || share > l.MaxGPUShare.Value {
			t.Fatalf("%d holds %d devices, %s GPU", uid, len(all), share)
		}
	}
}

func wish(t *rapid.T) *gpu.Request {
	text := rapid.SampledFrom([]string{"1", "2", "mig", "full", "1g.10gb", "2x1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb", "30GiB", "1g.10gb,2g.20gb", "1g.10gb,full", "all"}).Draw(t, "wish")
	r, err := gpu.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

func (n *node) order(uid int, want *gpu.Request) allocator.Order {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names++
	return allocator.Order{
		Account: account.Account{UID: uid, Name: fmt.Sprint("u", uid)}, Limits: bounds(), Name: fmt.Sprint("c", n.names), GPU: want,
	}
}

func person(t *rapid.T) int { return rapid.IntRange(1, 4).Draw(t, "uid") }

// refused fails on errors that are no refusal in words.
func (n *node) refused(t T, err error) {
	if p, ok := errors.AsType[*problem.Error](err); err != nil && !n.killed && (!ok || p.Why == nil || p.What == "") {
		t.Fatalf("refused without words: %v", err)
	}
}

func (n *node) claim(t *rapid.T) {
	o := n.order(person(t), wish(t))
	o.AtStart = rapid.Bool().Draw(t, "at start")
	_, devices, err := n.ledger.Claim(context.Background(), o)
	n.refused(t, err)
	for _, d := range devices {
		if d.UUID == "" {
			t.Fatalf("granted %+v, which isn't there", d)
		}
	}
}

func (n *node) giveBack(t *rapid.T) {
	all := n.ledger.Records()
	if len(all) == 0 {
		return
	}
	r := rapid.SampledFrom(all).Draw(t, "container")
	var err error
	if rapid.Bool().Draw(t, "remove") {
		err = n.ledger.Forget(context.Background(), r.ID)
	} else {
		err = n.ledger.Update(context.Background(), r.ID, func(r *container.Record) { r.State = gpu.Released })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) again(t *rapid.T) {
	all := slices.DeleteFunc(slices.Clone(n.ledger.Records()), func(r container.Record) bool { return r.State != gpu.Released })
	if len(all) > 0 {
		n.refused(t, n.ledger.Acquire(context.Background(), rapid.SampledFrom(all).Draw(t, "container").ID, bounds()))
	}
}

func (n *node) join(t *rapid.T) {
	uid := person(t)
	_, err := n.ledger.Join(context.Background(), allocator.Wish{
		Account: account.Account{UID: uid, Name: fmt.Sprint("u", uid)}, Limits: bounds(), Request: *wish(t),
	})
	n.refused(t, err)
}

func (n *node) due(t *rapid.T) {
	if _, err := n.ledger.Advance(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ledger.Cut(context.Background()); err != nil && !n.killed {
		t.Fatal(err)
	}
}

func (n *node) wait(t *rapid.T) {
	n.now = n.now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "seconds")) * time.Second)
}

func (n *node) strange(t *rapid.T) {
	if n.stray != "" {
		_ = n.SetProcesses(n.stray, nil) // it may be gone, but never while the process ran
		n.stray = ""
		return
	}
	held := n.held()
	for _, d := range n.inventory.Devices() {
		if held[d.UUID] == "" && rapid.Bool().Draw(t, "here") {
			if err := n.SetProcesses(d.UUID, []gpu.Process{{PID: 7}}); err != nil {
				t.Fatal(err)
			}
			n.stray = d.UUID
			return
		}
	}
}

func (n *node) crash(t *rapid.T) {
	if n.killedIn = rapid.IntRange(0, 3).Draw(t, "calls"); n.killedIn > 0 {
		n.claim(t)
		n.due(t)
		n.declare(t)
	}
	n.restart(t)
}

// Whatever people ask for, give back and run, and administrators declare, on
// whatever cards, and whenever ds01 is killed: nobody gets what another has, nobody is over a limit, and
// nothing in use is destroyed.
func TestCardsThatAreCutKeepEveryPromise(t *testing.T) {
	hosts := map[string]sim.Config{
		"A100":                 {GPUs: []string{"a100-80gb", "a100-80gb"}, MIG: map[int][]string{0: {"3g.40gb", "1g.10gb"}}},
		"a 3g of three slices": {GPUs: []string{"h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil}},
		"A30":                  {GPUs: []string{"a30", "a30"}, MIG: map[int][]string{0: nil}},
		"mixed":                {GPUs: []string{"a100-40gb", "h100-80gb", "a30"}, MIG: map[int][]string{0: nil, 2: {"2g.12gb"}}},
	}
	for name, cfg := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			many := storetest.Try(t, 250_000) // a million on all four
			for many.More() {
				rapid.Check(t, func(rt *rapid.T) {
					dir, done := many.Folder()
					defer done()
					n := newNode(rt, dir, cfg)
					defer func() { _ = n.records.Close() }()
					rt.Repeat(map[string]func(*rapid.T){
						"": func(rt *rapid.T) { many.Step(); n.check(rt) }, "claim": n.claim, "claim more": n.claim, "give back": n.giveBack, "start again": n.again,
						"join": n.join, "due": n.due, "wait": n.wait, "stray": n.strange, "crash": n.crash, "declare": n.declare,
					})
				})
			}
		})
	}
}

// Many ask at once, and each gets their own or a refusal; and when all is
// given back the cards are whole again.
func TestManyHaveCardsCutAtOnce(t *testing.T) {
	n := newNode(t, t.TempDir(), sim.Config{GPUs: []string{"h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil, 1: nil}})
	defer func() { _ = n.records.Close() }()
	n.slow = time.Millisecond
	const people = 12
	var wg sync.WaitGroup
	got := make([]error, people)
	for i := range people {
		wg.Go(func() {
			_, _, got[i] = n.ledger.Claim(t.Context(), n.order(100+i, &gpu.Request{Parts: []gpu.Part{{Count: 1, Profile: "1g.10gb"}}}))
		})
	}
	wg.Wait()
	for i, err := range got {
		if err != nil {
			t.Errorf("%d of %d, where 14 fit: %v", i, people, err)
		}
	}
	n.check(t)
	for _, r := range n.ledger.Records() {
		if err := n.ledger.Forget(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	next, err := n.ledger.Cut(t.Context())
	if err != nil || next.IsZero() {
		t.Fatalf("nothing is due: %v, %v", next, err)
	}
	if len(n.inventory.Devices()) != people {
		t.Errorf("folded at once: %d are left", len(n.inventory.Devices()))
	}
	n.now = next
	if next, err = n.ledger.Cut(t.Context()); err != nil || !next.IsZero() || len(n.inventory.Devices()) != 0 {
		t.Errorf("%d instances are left, next at %v, %v", len(n.inventory.Devices()), next, err)
	}
	full := gpu.Request{Parts: []gpu.Part{{Count: 1, Profile: gpu.Full}}}
	_, devices, err := n.ledger.Claim(t.Context(), n.order(1, &full))
	if err != nil || len(devices) != 1 || devices[0].Profile != gpu.Full {
		t.Errorf("a whole card: %+v, %v", devices, err)
	}
}

// What is being made counts for its owner's limits, and nobody else gets it.
func TestWhoAsksAtOnceStaysWithinTheirLimits(t *testing.T) {
	for round := range 5 {
		n := newNode(t, t.TempDir(), sim.Config{GPUs: []string{"h100-80gb", "h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil, 1: {"1g.10gb", "3g.40gb"}}})
		n.slow = time.Millisecond
		for i := range 4 { // what stands free is folded meanwhile
			r, _, err := n.ledger.Claim(t.Context(), n.order(10+i, &gpu.Request{Parts: []gpu.Part{{Count: 1, Profile: "1g.10gb"}}}))
			if err == nil {
				err = n.ledger.Forget(t.Context(), r.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.ledger.Cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.now = n.now.Add(2 * time.Minute)
		var wg sync.WaitGroup
		for i, ask := range slices.Repeat([]string{"2x1g.10gb", "all", "full", "3g.40gb", "1", "2g.20gb", "7g.80gb"}, 4) {
			want, err := gpu.ParseRequest(ask)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				r, _, err := n.ledger.Claim(t.Context(), n.order(1+(i+round)%3, &want))
				n.refused(t, err)
				if err == nil && i%4 == 0 {
					if err := n.ledger.Forget(t.Context(), r.ID); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for range 5 {
				if _, err := n.ledger.Cut(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		n.check(t)
		if err := n.records.Close(); err != nil {
			t.Error(err)
		}
	}
}
