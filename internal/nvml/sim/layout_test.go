package sim_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/nvml/sim"
)

// Whatever is declared on whatever cards in whatever use: a plan that nothing
// is in the way of can be carried out in its order, gives what was declared,
// and destroys nothing in use; the others touch nothing. What a host is
// exported as changes nothing when it is applied.
func TestLayoutsKeepTheirPromises(t *testing.T) {
	cfg := sim.Config{
		GPUs: []string{"a100-80gb", "h100-80gb", "a30", "h200", "h100-80gb"},
		MIG:  map[int][]string{0: {"3g.40gb", "1g.10gb"}, 1: nil, 2: {"1g.6gb"}, 3: {"1g.35gb", "1g.35gb"}},
	}
	tables, err := gpu.NewTables(cards(t, driver(t, cfg)), gpu.LabMix())
	if err != nil {
		t.Fatal(err)
	}
	steps, applied, refused := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		s := &site{driver: driver(t, cfg), tables: tables, steps: &steps, freed: map[string]time.Time{}, now: time.Unix(0, 0)}
		rt.Repeat(map[string]func(*rapid.T){
			"": s.check, "ask": s.ask, "give back": s.giveBack, "stray": s.stray, "export": s.export,
			"declare": func(rt *rapid.T) {
				if s.declare(rt) {
					applied++
				} else {
					refused++
				}
			},
		})
	})
	if applied == 0 || refused == 0 {
		t.Errorf("%d layouts applied, %d refused", applied, refused)
	}
}

// drawLayout declares some cards to be as each of them can be.
func drawLayout(t *rapid.T, h gpu.Host) gpu.Layout {
	var l gpu.Layout
	for _, c := range h.Cards {
		cut := gpu.Cut{Cards: []int{c.Index}, MIG: rapid.IntRange(0, 2).Draw(t, "mig") > 0, Source: fmt.Sprint("f:", c.Index)}
		if rapid.IntRange(0, 3).Draw(t, "left out") == 0 {
			continue
		}
		if cut.MIG {
			cut.Instances = map[string]int{}
		}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(c.Profiles)-1), 0, 5).Draw(t, "instances") {
			if !cut.MIG {
				break
			}
			more := maps.Clone(cut.Instances)
			more[c.Profiles[i].Name]++
			if _, err := gpu.PlaceLayout(c.Profiles, names(more)); err == nil {
				cut.Instances = more
			}
		}
		l = append(l, cut)
	}
	return l
}

func names(instances map[string]int) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		all = append(all, slices.Repeat([]string{name}, instances[name])...)
	}
	return all
}

// declare applies a layout, and reports whether nothing was in the way.
func (s *site) declare(t *rapid.T) bool {
	h := s.host(t)
	l, skip := drawLayout(t, h), rapid.Bool().Draw(t, "skip resets")
	plans, err := gpu.PlanLayout(h, l)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := gpu.Ready(plans, skip)
	if err != nil {
		if len(steps) > 0 || !blocked(plans) {
			t.Fatalf("%v, and yet %+v, %+v", err, steps, plans)
		}
		return false
	}
	s.carryOut(t, h, gpu.Policy{Mode: gpu.MIGDynamic}, gpu.Plan{Steps: steps})
	s.mustBeDeclared(t, h, l, plans)
	again, err := gpu.PlanLayout(s.host(t), l)
	for _, p := range again {
		if err != nil || len(p.Steps) > 0 && !p.NeedsReset() {
			t.Fatalf("applied, and yet %+v, %v", p, err)
		}
	}
	return true
}

func blocked(plans []gpu.CardPlan) bool {
	return slices.ContainsFunc(plans, func(p gpu.CardPlan) bool { return len(p.InTheWay) > 0 })
}

// mustBeDeclared fails when a card isn't as it was declared, or another one
// isn't as it was.
func (s *site) mustBeDeclared(t *rapid.T, before gpu.Host, l gpu.Layout, plans []gpu.CardPlan) {
	for i, c := range s.host(t).Cards {
		at := slices.IndexFunc(l, func(cut gpu.Cut) bool { return cut.Cards[0] == c.Index })
		plan := slices.IndexFunc(plans, func(p gpu.CardPlan) bool { return p.Card == c.Index })
		if at < 0 || plans[plan].NeedsReset() {
			if fmt.Sprint(c) != fmt.Sprint(before.Cards[i]) {
				t.Fatalf("card %d changed, %+v", i, plans)
			}
			continue
		}
		there := map[string]int{}
		for _, in := range c.Instances {
			there[in.Profile]++
		}
		if c.MIG != l[at].MIG || c.MIGWaits || !maps.Equal(there, l[at].Instances) {
			t.Fatalf("declared %+v, got %v", l[at], there)
		}
		for _, k := range plans[plan].Kept {
			if !slices.ContainsFunc(c.Instances, func(in gpu.Instance) bool { return in.UUID == k.UUID }) {
				t.Fatalf("%+v didn't stay", k)
			}
		}
	}
}

// export fails when what the host is exported as would change it.
func (s *site) export(t *rapid.T) {
	h := s.host(t)
	file, err := layout.Decode("export", []byte(layout.Encode(h.Cards)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := file.Choose(layout.Current)
	if err != nil {
		t.Fatal(err)
	}
	plans, err := gpu.PlanLayout(h, l)
	if err != nil || len(plans) != len(h.Cards) {
		t.Fatalf("%v, %+v", err, plans)
	}
	for _, p := range plans {
		if len(p.Steps) > 0 || len(p.InTheWay) > 0 {
			t.Fatalf("%+v", p)
		}
	}
}
