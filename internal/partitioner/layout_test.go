package partitioner_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// declared is a layout for the busy host that changes its cards 0 and 1.
func declared() gpu.Layout {
	return gpu.Layout{
		{Cards: []int{0}, MIG: true, Instances: map[string]int{"3g.40gb": 1, "2g.20gb": 1}, Source: "f:1"},
		{Cards: []int{1}, MIG: true, Instances: map[string]int{"7g.80gb": 1}, Source: "f:2"},
	}
}

func ready(plans []gpu.CardPlan) ([]gpu.Step, error) { return gpu.Ready(plans, false) }

func TestALayoutIsAppliedStepByStepWithItsCardsClosed(t *testing.T) {
	h := setup(t, busyHost())
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	err = h.start().Apply(t.Context(), declared(), ready, func(s gpu.Step) {
		told = append(told, s.String())
		for _, uuid := range []string{cards[0].UUID, cards[0].Instances[0].UUID, cards[0].Instances[1].UUID, cards[1].UUID} {
			if h.closed[uuid] != 1 {
				t.Errorf("%s is closed %d times after %s", uuid, h.closed[uuid], s)
			}
		}
		if h.closed[cards[2].UUID] != 0 {
			t.Error("a card that isn't named is closed")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"destroy 1g.10gb at 3 of card 0", "create 2g.20gb at 2 of card 0", "enable MIG on card 1", "create 7g.80gb at 0 of card 1"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	want = []string{"card 0: 2g.20gb at 2", "card 0: 3g.40gb at 4", "card 0: MIG true", "card 1: 7g.80gb at 0", "card 1: MIG true", "card 2: MIG true"}
	if diff := cmp.Diff(want, h.layout(t)); diff != "" {
		t.Error(diff)
	}
	h.settled(t)
}

// What an administrator declares is done on a drained card, also when it was
// begun before a restart.
func TestALayoutCutsADrainedCard(t *testing.T) {
	h := setup(t, busyHost())
	h.drained = cardsOf(t, h)[0].UUID
	h.life = &life{last: 4}
	if err := h.start().Apply(t.Context(), declared(), ready, nil); err == nil {
		t.Fatal("not killed")
	}
	clear(h.closed)
	h.life = &life{}
	if err := h.start().Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"card 0: 2g.20gb at 2", "card 0: 3g.40gb at 4", "card 0: MIG true", "card 1: 7g.80gb at 0", "card 1: MIG true", "card 2: MIG true"}
	if diff := cmp.Diff(want, h.layout(t)); diff != "" {
		t.Error(diff)
	}
}

func TestALayoutWithSomethingInTheWayTouchesNothing(t *testing.T) {
	h := setup(t, busyHost())
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := h.layout(t)
	h.claims = holder(cards[1].UUID)
	for name, l := range map[string]gpu.Layout{"held": declared(), "impossible": {{Cards: []int{9}, Source: "f:1"}}} {
		err := h.start().Apply(t.Context(), l, ready, nil)
		if !errors.Is(err, problem.ErrConflict) && !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if diff := cmp.Diff(before, h.layout(t)); diff != "" || h.calls > 0 {
		t.Errorf("%d calls: %s", h.calls, diff)
	}
	h.settled(t)
}

// Killed anywhere while it applies a layout, ds01 finishes it at its next
// start: applied once more there is nothing to do.
func TestALayoutThatWasBegunIsFinished(t *testing.T) {
	whole := setup(t, busyHost())
	if err := whole.start().Apply(t.Context(), declared(), ready, nil); err != nil {
		t.Fatal(err)
	}
	for last := 2; last <= whole.calls; last++ { // at the first call nothing is written down yet
		h := setup(t, busyHost())
		h.life = &life{last: last, after: last%2 == 0}
		if err := h.start().Apply(t.Context(), declared(), ready, nil); err == nil {
			t.Fatalf("killed at %d: %v", last, err)
		}
		clear(h.closed)
		h.life = &life{}
		p := h.start()
		if err := p.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := p.Apply(t.Context(), declared(), func(plans []gpu.CardPlan) ([]gpu.Step, error) {
			steps, err := gpu.Ready(plans, false)
			if len(steps) > 0 {
				t.Errorf("killed at %d, left to do: %v", last, steps)
			}
			return steps, err
		}, nil)
		if err != nil {
			t.Error(err)
		}
		h.settled(t)
	}
}

func TestALookShowsWhoIsThere(t *testing.T) {
	h := setup(t, busyHost())
	cards, err := h.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.claims = holder(cards[1].UUID)
	run(h, cards[0].Instances[0].UUID)
	seen, err := h.start().Look(t.Context())
	if err != nil || len(seen.Cards) != 3 || len(seen.Claims) != 1 || !strings.Contains(seen.Taken[cards[0].Instances[0].UUID], "process 7") {
		t.Errorf("got %+v, %v", seen, err)
	}
	if slices.ContainsFunc(seen.Cards, func(c gpu.Card) bool { return h.closed[c.UUID] > 0 }) {
		t.Error("a look closes a card")
	}
	h.blind = problem.ErrUnavailable
	if _, err := h.start().Look(t.Context()); !errors.Is(err, h.blind) {
		t.Errorf("got %v", err)
	}
}
