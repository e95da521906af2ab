package daemon_test

import (
	"context"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/sim"
)

// declare has the cards made as somebody declares, if nothing is in the way.
func (n *node) declare(t *rapid.T) {
	cards, err := n.Cards(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	fillings := []map[string]int{{}, {"1g.10gb": 7}, {"1g.10gb": 1, "2g.20gb": 3}, {"3g.40gb": 2}, {"7g.80gb": 1}}
	var l gpu.Layout
	for i := range cards {
		cut := gpu.Cut{Cards: []int{cards[i].Index}, MIG: rapid.Bool().Draw(t, "mig"), Source: "f:1"}
		if cut.MIG {
			cut.Instances = rapid.SampledFrom(fillings).Draw(t, "filling")
		}
		if rapid.Bool().Draw(t, "named") {
			l = append(l, cut)
		}
	}
	n.refused(t, n.apply(l))
}

func (n *node) apply(l gpu.Layout) error {
	ready := func(plans []gpu.CardPlan) ([]gpu.Step, error) { return gpu.Ready(plans, true) }
	return n.partitioner.Apply(context.Background(), l, ready, nil)
}

// While layouts are applied one after the other people ask and give back: each
// gets their own or a refusal.
func TestLayoutsAreAppliedWhileManyAsk(t *testing.T) {
	n := newNode(t, t.TempDir(), sim.Config{GPUs: []string{"h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil, 1: nil}})
	defer func() { _ = n.records.Close() }()
	var people, admin sync.WaitGroup
	over := make(chan struct{})
	applied := 0
	admin.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			profile := []string{"1g.10gb", "3g.40gb", "2g.20gb"}[i%3]
			err := n.apply(gpu.Layout{{Cards: []int{i / 3 % 2}, MIG: true, Instances: map[string]int{profile: 2}, Source: "f:1"}})
			if n.refused(t, err); err == nil {
				applied++
			}
		}
	})
	for i := range 6 {
		people.Go(func() {
			for range 15 {
				r, _, err := n.ledger.Claim(t.Context(), n.order(100+i, &gpu.Request{Count: 1}))
				if n.refused(t, err); err != nil {
					continue
				}
				if err := n.ledger.Forget(t.Context(), r.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	people.Wait()
	close(over)
	admin.Wait()
	n.check(t)
	if applied == 0 {
		t.Error("no layout was applied")
	}
}
