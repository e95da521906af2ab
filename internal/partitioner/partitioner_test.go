package partitioner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/partitioner"
	"ds01.dev/ds01/internal/problem"
)

var errDead = errors.New("ds01 was killed")

// A life is one run of ds01 on a host: it ends with the call of this number,
// before or after that has had its effect, and no call does anything then.
type life struct {
	calls, last int // last: 0 = it doesn't end
	after       bool
}

// do counts a call and makes it, if ds01 lives.
func (l *life) do(call func() error) error {
	l.calls++
	switch {
	case l.last == 0 || l.calls < l.last:
		return call()
	case l.calls == l.last && l.after:
		if err := call(); err != nil {
			return err
		}
	}
	return errDead
}

// A host outlives ds01: its cards, its database, who holds what.
type host struct {
	*sim.Driver
	*life
	written         gpu.Work // in its database
	claims          []gpu.Claim
	taken           map[string]string
	closed          map[string]int
	withheld        map[string]string
	drained, failed string        // a card, an instance
	hangs           chan struct{} // closed: the driver goes on; nil: it doesn't hang
	audit           []string
	unread          bool // the inventory can't read the cards
	blind           error
	sighted         time.Time // when blind is over; zero: never
	refresh         int
	strange         func() // happens right before each step
}

func setup(t *testing.T, cfg sim.Config) *host {
	t.Helper()
	d, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &host{Driver: d, life: &life{}, closed: map[string]int{}, withheld: map[string]string{}}
}

// start starts ds01 on the host.
func (h *host) start() *partitioner.Partitioner {
	return partitioner.New(partitioner.Parts{
		Driver: h, Store: h, Ledger: h, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Record: func(e event.Event) {
			h.audit = append(h.audit, fmt.Sprintf("%s %s %s: %s", e.Decision, e.Action, e.Object, e.Why))
		},
		Refresh: func(context.Context) error {
			if h.unread {
				return problem.ErrUnavailable
			}
			return h.do(func() error { h.refresh++; return nil })
		},
	})
}

// Cards are the driver's, with what the warden says of them.
func (h *host) Cards(ctx context.Context) ([]gpu.Card, error) {
	cards, err := h.Driver.Cards(ctx)
	for i := range cards {
		if cards[i].UUID == h.drained {
			cards[i].Drained = "a fan"
		}
		for j := range cards[i].Instances {
			if cards[i].Instances[j].UUID == h.failed {
				cards[i].Instances[j].Problem = "XID 95"
			}
		}
	}
	return cards, err
}

func (h *host) Withhold(uuid, why string) func() {
	h.withheld[uuid] = why
	return func() { delete(h.withheld, uuid) }
}

func (h *host) SetMIGMode(ctx context.Context, uuid string, on bool) (reset bool, err error) {
	err = h.do(func() error { reset, err = h.Driver.SetMIGMode(ctx, uuid, on); return err })
	return reset, err
}

func (h *host) CreateInstance(ctx context.Context, card, profile string, at int) (in gpu.Instance, err error) {
	if h.hangs != nil {
		<-h.hangs
	}
	err = h.do(func() error { in, err = h.Driver.CreateInstance(ctx, card, profile, at); return err })
	return in, err
}

func (h *host) DestroyInstance(ctx context.Context, uuid string) error {
	return h.do(func() error { return h.Driver.DestroyInstance(ctx, uuid) })
}

func (h *host) Repartition(context.Context) (gpu.Work, error) { return h.written, nil }

func (h *host) SaveRepartition(_ context.Context, w gpu.Work) error {
	return h.do(func() error {
		w.Steps = slices.Clone(w.Steps)
		h.written = w
		return nil
	})
}

func (h *host) Flush() error { return h.do(func() error { return nil }) }

func (h *host) AwaitSight(context.Context) error {
	if !h.sighted.IsZero() && time.Now().After(h.sighted) {
		return nil
	}
	return h.blind
}

func (h *host) Close(uuid string) (gpu.Host, func()) {
	if h.strange != nil {
		h.strange()
	}
	h.closed[uuid]++
	return gpu.Host{Claims: h.claims, Taken: h.taken}, func() { h.closed[uuid]-- }
}

func (h *host) Holds() gpu.Host { return gpu.Host{Claims: h.claims, Taken: h.taken} }

// layout says what the cards are cut into.
func (h *host) layout(t *testing.T) []string {
	t.Helper()
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range cards {
		all = append(all, fmt.Sprintf("card %d: MIG %v", c.Index, c.MIG))
		for _, in := range c.Instances {
			all = append(all, fmt.Sprintf("card %d: %s at %d", c.Index, in.Profile, in.Start))
		}
	}
	slices.Sort(all)
	return all
}

// busyHost has a card with two instances, a whole one and one with nothing on
// it.
func busyHost() sim.Config {
	return sim.Config{GPUs: []string{"h100-80gb", "h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: {"3g.40gb", "1g.10gb"}, 2: nil}}
}

// steps is a plan for it in which each verb occurs.
func steps(t *testing.T, h *host) []gpu.Step {
	t.Helper()
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []gpu.Step
	for _, in := range cards[0].Instances {
		all = append(all, gpu.Step{
			Verb: gpu.Destroy, CardUUID: cards[0].UUID, Instance: in.UUID, Profile: in.Profile, At: gpu.Placement{Start: in.Start, Size: in.Size},
		})
	}
	places := func(card int, profile string) gpu.Placement {
		i := slices.IndexFunc(cards[card].Profiles, func(p gpu.Profile) bool { return p.Name == profile })
		return cards[card].Profiles[i].Placements[0]
	}
	return append(all,
		gpu.Step{Verb: gpu.Create, CardUUID: cards[0].UUID, Profile: "4g.40gb", At: places(0, "4g.40gb")},
		gpu.Step{Verb: gpu.EnableMIG, Card: 1, CardUUID: cards[1].UUID},
		gpu.Step{Verb: gpu.Create, Card: 1, CardUUID: cards[1].UUID, Profile: "1g.10gb", At: places(1, "1g.10gb")},
		gpu.Step{Verb: gpu.DisableMIG, Card: 2, CardUUID: cards[2].UUID},
	)
}

func TestAPlanIsCarriedOut(t *testing.T) {
	h := setup(t, busyHost())
	if err := h.start().Carry(t.Context(), steps(t, h), "a test"); err != nil {
		t.Fatal(err)
	}
	want := []string{"card 0: 4g.40gb at 0", "card 0: MIG true", "card 1: 1g.10gb at 0", "card 1: MIG true", "card 2: MIG false"}
	if diff := cmp.Diff(want, h.layout(t)); diff != "" {
		t.Error(diff)
	}
	h.settled(t)
	if h.refresh != 6 {
		t.Errorf("the inventory was told %d times of 6 steps", h.refresh)
	}
}

// settled fails where something is left of what was under way.
func (h *host) settled(t *testing.T) {
	t.Helper()
	if len(h.written.Steps) > 0 {
		t.Errorf("left to do: %+v", h.written)
	}
	for uuid, n := range h.closed {
		if n != 0 {
			t.Errorf("%s is closed %d times", uuid, n)
		}
	}
}

// Killed at any call, before or after its effect, and perhaps once more while
// it makes good: what was written down is done in the end, all of it, and what
// wasn't isn't begun.
func TestNoMomentToBeKilledLeavesAnythingHalfDone(t *testing.T) {
	whole := setup(t, busyHost())
	before := whole.layout(t)
	if err := whole.start().Carry(t.Context(), steps(t, whole), "a test"); err != nil {
		t.Fatal(err)
	}
	done, calls := whole.layout(t), whole.calls
	if calls < 6*3+2 {
		t.Fatalf("%d calls", calls)
	}
	for _, after := range []bool{false, true} {
		for last := range calls {
			for again := range calls - last + 1 { // 0: not killed again
				h := setup(t, busyHost())
				h.life = &life{last: last + 1, after: after}
				if err := h.start().Carry(t.Context(), steps(t, h), "a test"); err == nil {
					t.Fatalf("killed at call %d of %d: %v", last+1, calls, err)
				}
				clear(h.closed) // in ds01's memory
				h.life = &life{last: again, after: after}
				_ = h.start().Settle(t.Context())
				clear(h.closed)
				h.life = &life{}
				if err := h.start().Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := done
				if last == 0 && !after {
					want = before
				}
				if diff := cmp.Diff(want, h.layout(t)); diff != "" {
					t.Fatalf("killed at call %d (after its effect: %v), then at %d:\n%s", last+1, after, again, diff)
				}
				h.settled(t)
			}
		}
	}
}

// Each change is written down with what it is for before it is made, and once more
// where it failed.
func TestWhoeverHasCardsCutIsWrittenDown(t *testing.T) {
	h := setup(t, busyHost())
	all := steps(t, h)[1:3]
	all[0].Reason = "it is free and in the way"
	all[0], all[1] = all[1], all[0] // there is no room yet
	if err := h.start().Carry(t.Context(), all, "4g.40gb for web of alice"); err == nil {
		t.Fatal("there was room")
	}
	if err := h.start().Carry(t.Context(), all[1:], "4g.40gb for web of alice"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		" gpu cut create 4g.40gb at 0 of card 0: 4g.40gb for web of alice",
		"failed gpu cut create 4g.40gb at 0 of card 0: no 4g.40gb created at 0 of card 0: ",
		" gpu cut destroy 1g.10gb at 3 of card 0: 4g.40gb for web of alice: it is free and in the way",
	}
	if len(h.audit) != len(want) {
		t.Fatal(h.audit)
	}
	for i, line := range h.audit {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("%s, want %s", line, want[i])
		}
	}
}

func TestWhatIsInUseIsNeverTouched(t *testing.T) {
	for name, c := range map[string]struct {
		happen func(h *host, cards []gpu.Card) // once the first step is done
		step   int                             // that isn't done then
		why    string
	}{
		"a claim got the instance": {
			func(h *host, cards []gpu.Card) { h.claims = holder(cards[0].Instances[0].UUID) }, 1, "claim c1 holds it",
		},
		"a claim got the card": {
			func(h *host, cards []gpu.Card) { h.claims = holder(cards[1].UUID) }, 3, "claim c1 holds it",
		},
		"a process began on the instance": {
			func(h *host, cards []gpu.Card) { run(h, cards[0].Instances[0].UUID) }, 1, "process 7 uses it, and no claim explains that",
		},
		"a process began on the card": {
			func(h *host, cards []gpu.Card) { run(h, cards[1].UUID) }, 3, "process 7 uses it, and no claim explains that",
		},
		"an unknown container reaches the instance": {
			func(h *host, cards []gpu.Card) {
				h.taken = map[string]string{cards[0].Instances[0].UUID: "container x"}
			}, 1, "container x",
		},
		"the card is lost": {
			func(h *host, cards []gpu.Card) { _ = h.Lose(cards[1].UUID) }, 3, "the card doesn't answer (GPU is lost)",
		},
		"the card is drained": {
			func(h *host, cards []gpu.Card) { h.drained = cards[1].UUID }, 3, "it is drained: a fan",
		},
		"the instance has failed": {
			func(h *host, cards []gpu.Card) { h.failed = cards[0].Instances[0].UUID }, 1, "XID 95",
		},
		"somebody else made an instance": {
			func(h *host, cards []gpu.Card) {
				_, _ = h.Driver.CreateInstance(context.Background(), cards[2].UUID, "1g.10gb", 0)
			}, 5, "the card has 1 MIG instances",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := setup(t, busyHost())
			all, first := steps(t, h), true
			h.strange = func() {
				cards, err := h.Cards(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if h.refresh == 1 && first {
					first = false
					c.happen(h, cards)
				}
			}
			err := h.start().Carry(t.Context(), all, "a test")
			p, ok := errors.AsType[*problem.Error](err)
			if !ok || !strings.Contains(p.What, all[c.step].String()) || !strings.HasSuffix(p.Why.Error(), c.why) || p.Next == "" {
				t.Errorf("got %v", err)
			}
			if h.refresh != c.step {
				t.Errorf("%d steps done, want %d", h.refresh, c.step)
			}
			h.settled(t)
		})
	}
}

func holder(uuid string) []gpu.Claim {
	return []gpu.Claim{{ID: "c1", State: gpu.Bound, Devices: []gpu.Grant{{UUID: uuid}}}}
}

func run(h *host, uuid string) { _ = h.SetProcesses(uuid, []gpu.Process{{PID: 7}}) }

// What is begun is not finished where that would touch what somebody got
// meanwhile.
func TestWhatWasBegunIsGivenUpWhereSomebodyIsInTheWay(t *testing.T) {
	h := setup(t, busyHost())
	h.life = &life{last: 3} // at the first call of the driver
	all := steps(t, h)
	if err := h.start().Carry(t.Context(), all, "a test"); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	clear(h.closed)
	before := h.layout(t)
	h.life, h.claims = &life{}, holder(all[0].Instance)
	if err := h.start().Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, h.layout(t)); diff != "" {
		t.Error(diff)
	}
	h.settled(t)
}

func TestNothingIsDoneBeforeItIsKnownWhatTheEngineRuns(t *testing.T) {
	h := setup(t, busyHost())
	h.blind = problem.ErrUnavailable
	p := h.start()
	for what, err := range maps.All(map[string]error{
		"settle": p.Settle(t.Context()), "carry": p.Carry(t.Context(), steps(t, h), "a test"),
	}) {
		if !errors.Is(err, h.blind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if h.calls > 0 {
		t.Errorf("%d calls", h.calls)
	}
}

func TestWhatWasBegunIsTriedAgainUntilItCanBeDone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := setup(t, busyHost())
		h.written = gpu.Work{Steps: steps(t, h)}
		h.blind, h.sighted = problem.ErrUnavailable, time.Now().Add(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := h.start().Run(ctx); err != nil {
			t.Error(err)
		}
		h.settled(t)
	})
}

// A step that needs a reset isn't half done: neither one that says so, nor one
// of which only the driver knew.
func TestACardIsNeverLeftWaitingForAReset(t *testing.T) {
	for _, foretold := range []bool{true, false} {
		h := setup(t, sim.Config{GPUs: []string{"a100-80gb"}})
		cards, err := h.Cards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = h.start().Carry(t.Context(), []gpu.Step{{Verb: gpu.EnableMIG, CardUUID: cards[0].UUID, Reset: foretold}}, "a test")
		if p, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(p.Next, "nvidia-smi -i 0 -mig 1") || !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("foretold %v: %v", foretold, err)
		}
		if now, err := h.Cards(t.Context()); err != nil || now[0].MIG || now[0].MIGWaits {
			t.Errorf("foretold %v: %+v, %v", foretold, now[0], err)
		}
		if foretold && h.calls > 0 {
			t.Errorf("%d calls", h.calls)
		}
	}
}

// Who waits for longer than they want to leaves, and whoever comes next does
// what was begun.
func TestAPlanWhoseOwnerIsGoneIsFinishedFirst(t *testing.T) {
	h := setup(t, busyHost())
	p := h.start()
	ctx, cancel := context.WithCancel(t.Context())
	h.strange = cancel
	if err := p.Carry(ctx, steps(t, h), "a test"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h.strange = nil
	if len(h.written.Steps) == 0 {
		t.Fatal("nothing is left")
	}
	if err := p.Carry(t.Context(), nil, "nothing"); err != nil {
		t.Fatal(err)
	}
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"card 0: 4g.40gb at 0", "card 0: MIG true", "card 1: 1g.10gb at 0", "card 1: MIG true", "card 2: MIG false"}
	if diff := cmp.Diff(want, h.layout(t)); diff != "" {
		t.Error(diff)
	}
	h.settled(t)
}

// A driver that hangs while it makes an instance: who waits is told in a minute,
// others at once, the card is withheld, and what was begun is finished as soon as
// the driver answers, or at the next start.
func TestADriverThatHangsKeepsNobodyWaiting(t *testing.T) {
	for name, restarted := range map[string]bool{"it answers": false, "ds01 is started again": true} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				h := setup(t, busyHost())
				card := cardsOf(t, h)[0].UUID
				h.hangs = make(chan struct{})
				p := h.start()
				ctx, cancel := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- p.Run(ctx) }()
				bubble.Wait()

				began := time.Now()
				err := p.Carry(t.Context(), steps(t, h), "a test")
				if took := time.Since(began); !errors.Is(err, problem.ErrUnavailable) || took != time.Minute || !strings.Contains(err.Error(), "has not answered for 1m0s (create 4g.40gb at 0 of card 0)") {
					t.Errorf("after %s: %v", took, err)
				}
				began = time.Now()
				_, seen := p.Look(t.Context())
				for what, err := range map[string]error{"others": p.Carry(t.Context(), steps(t, h), "another"), "a look": seen} {
					if took := time.Since(began); !errors.Is(err, problem.ErrUnavailable) || took > 0 {
						t.Errorf("%s, after %s: %v", what, took, err)
					}
				}
				if len(h.written.Steps) != 4 || h.withheld[card] == "" || h.closed[card] != 0 {
					t.Errorf("written down: %v, withheld: %v, closed: %v", h.written.Steps, h.withheld, h.closed)
				}
				if restarted {
					cancel()
					<-ran
					clear(h.withheld)
					close(h.hangs) // the call of before ends
					bubble.Wait()
					ctx, cancel = context.WithCancel(t.Context())
					p = h.start()
					go func() { ran <- p.Run(ctx) }()
				} else {
					close(h.hangs)
				}
				bubble.Wait()
				want := []string{"card 0: 4g.40gb at 0", "card 0: MIG true", "card 1: 1g.10gb at 0", "card 1: MIG true", "card 2: MIG false"}
				if diff := cmp.Diff(want, h.layout(t)); diff != "" {
					t.Error(diff)
				}
				h.settled(t)
				if len(h.withheld) > 0 {
					t.Errorf("still withheld: %v", h.withheld)
				}
				if err := p.Carry(t.Context(), nil, "nothing"); err != nil {
					t.Error(err)
				}
				cancel()
				<-ran
			})
		})
	}
}

// Where the cards can't be read after a step, nobody knows what became of it: the
// card is withheld, and given back once they can.
func TestAStepOfWhichNobodyKnowsIsFoundOutAbout(t *testing.T) {
	h := setup(t, busyHost())
	p, card := h.start(), cardsOf(t, h)[1].UUID
	h.unread = true
	all := steps(t, h)[3:] // turns MIG on, first
	if err := p.Carry(t.Context(), all, "a test"); err == nil || h.withheld[card] == "" || len(h.written.Steps) != len(all) {
		t.Fatalf("%v, withheld %v, left %v", err, h.withheld, h.written.Steps)
	}
	if err := p.Settle(t.Context()); err == nil {
		t.Error("settled, and the cards can't be read")
	}
	h.unread = false
	if err := p.Settle(t.Context()); err != nil || len(h.withheld) > 0 {
		t.Errorf("%v, withheld %v", err, h.withheld)
	}
	h.settled(t)
}

func cardsOf(t *testing.T, h *host) []gpu.Card {
	t.Helper()
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cards
}
