package gpu

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// plan writes down what was found: card by card, first what is folded, then
// the mode, then what is made.
func (pl *planner) plan() Plan {
	plan := Plan{Picks: make([]Pick, len(pl.wants))}
	for i := range pl.bays {
		if slices.Contains(pl.whole, i) {
			pl.makeWhole(&plan, i)
			continue
		}
		pl.makeInstances(&plan, i)
	}
	return plan
}

// makeWhole gives the card to the next want that gets a whole one.
func (pl *planner) makeWhole(plan *Plan, i int) {
	b := &pl.bays[i]
	p := Pick{
		UUID: b.UUID, Step: -1, Card: b.Index, CardUUID: b.UUID, Profile: Full, Share: quantity.FullGPU,
		MemoryBytes: b.MemoryBytes, Reason: fmt.Sprintf("card %d is free", b.Index),
	}
	if len(pl.whole) > 1 {
		p.Reason += ", and of the free cards these are nearest to one another"
	}
	if b.mig {
		for i := range b.Instances {
			if b.free.has(i) {
				plan.Steps = append(plan.Steps, b.destroy(&b.Instances[i], "it is free, and the card is wanted whole"))
			}
		}
		p.Step = len(plan.Steps)
		plan.Steps = append(plan.Steps, b.step(DisableMIG, "the card is wanted whole"))
	}
	plan.Picks[pl.fulls[slices.Index(pl.whole, i)]] = p
}

func (pl *planner) makeInstances(plan *Plan, i int) {
	b := &pl.bays[i]
	var mine []pick
	for _, p := range pl.picks {
		if p.bay == i {
			mine = append(mine, p)
		}
	}
	made := slices.IndexFunc(mine, func(p pick) bool { return p.reuse < 0 })
	if made >= 0 {
		for _, in := range b.inTheWay() {
			plan.Steps = append(plan.Steps, b.destroy(in, "it is free and in the way of "+mine[made].String()))
		}
		if !b.MIG {
			plan.Steps = append(plan.Steps, b.step(EnableMIG, "no card with MIG on has a place for "+mine[made].profile+" that may be taken"))
		}
	}
	for _, p := range mine {
		plan.Picks[p.want] = b.grant(p, len(plan.Steps))
		if p.reuse < 0 {
			s := b.step(Create, plan.Picks[p.want].Reason)
			s.Profile, s.At = p.profile, p.at
			plan.Steps = append(plan.Steps, s)
		}
	}
}

// inTheWay returns the free instances that can't stand beside what is picked.
func (b *bay) inTheWay() []*Instance {
	var fold []*Instance
	left := *b
	for i := range b.Instances {
		f := &b.Instances[i]
		if !b.foldable(i) {
			continue
		}
		spot := left.table.spot(f.Profile, Placement{Start: f.Start, Size: f.Size})
		if spot < 0 || !left.room(f.Profile, spot) {
			fold = append(fold, f)
			continue
		}
		left.add(i, false)
	}
	return fold
}

// grant returns the pick as its owner sees it. next is the number of the step
// that makes it, if one does.
func (b *bay) grant(p pick, next int) Pick {
	g := Pick{Step: -1, Card: b.Index, CardUUID: b.UUID, Profile: p.profile, At: p.at}
	if p.reuse >= 0 {
		in := &b.Instances[p.reuse]
		g.UUID, g.Share, g.MemoryBytes = in.UUID, quantity.ShareOf(in.Slices, in.SlicesOfCard), in.MemoryBytes
		g.Reason = p.String() + " stands free, and no other place leaves more open"
	} else {
		k := b.table.kinds[b.table.names[p.profile].kind]
		g.Step, g.Share, g.MemoryBytes = next, quantity.ShareOf(k.Slices, b.table.ofCard), k.MemoryBytes
		g.Reason = "no other place leaves more open"
	}
	if p.price.opens == 1 {
		g.Reason += "; a card that is to stay whole is used, for no other has room"
	}
	return g
}

// String returns the instance with its place, "3g.40gb at 4".
func (p pick) String() string { return fmt.Sprintf("%s at %d", p.profile, p.at.Start) }

func (b *bay) step(verb Verb, reason string) Step {
	mode := verb == EnableMIG || verb == DisableMIG
	return Step{Verb: verb, Card: b.Index, CardUUID: b.UUID, Reset: mode && b.MIGResets, Reason: reason}
}

func (b *bay) destroy(in *Instance, reason string) Step {
	s := b.step(Destroy, reason)
	s.Instance, s.Profile, s.At = in.UUID, in.Profile, Placement{Start: in.Start, Size: in.Size}
	return s
}

// Cuts says what is made, "2g.20gb on card 1, card 0 whole"; "" where nothing is.
func (p Plan) Cuts() string {
	var all []string
	for _, pick := range p.Picks {
		switch {
		case pick.Step < 0:
		case pick.Profile == Full:
			all = append(all, fmt.Sprintf("card %d whole", pick.Card))
		default:
			all = append(all, fmt.Sprintf("%s on card %d", pick.Profile, pick.Card))
		}
	}
	return strings.Join(all, ", ")
}

// understand refuses a want that this host can never meet.
func (pl *planner) understand(w Want) error {
	if slices.Contains(w, Full) {
		return nil
	}
	switch {
	case slices.ContainsFunc(w, pl.offered):
		return nil
	case pl.policy.Mode == MIGOff:
		return refusal(problem.ErrInvalid, "", "you asked for "+strings.Join(w, " or ")+", and gpu.mig.mode is off on this host",
			"Ask for a whole card, or for a number of GPUs.")
	}
	var names []string
	for _, o := range Offers(pl.host.Cards, pl.policy) {
		names = append(names, o.Profile)
	}
	return refusal(problem.ErrInvalid, "", "no card of this host offers "+strings.Join(w, " or "),
		"This host has "+strings.Join(append(names, Full), ", ")+".")
}

// offered reports whether a profile is ever to be had: it can be made, in
// dynamic mode, or stands already.
func (pl *planner) offered(profile string) bool {
	return pl.policy.Mode != MIGOff && slices.ContainsFunc(pl.host.Cards, func(c Card) bool {
		t := pl.policy.Tables.byCard[c.UUID]
		return (pl.policy.Mode == MIGDynamic && t != nil && t.names[profile].most > 0) ||
			slices.ContainsFunc(c.Instances, func(in Instance) bool { return in.Profile == profile })
	})
}

// refuse says why there is no place for all wants together.
func (pl *planner) refuse() error {
	names := make([]string, len(pl.wants))
	for i, w := range pl.wants {
		names[i] = strings.Join(w, " or ")
	}
	why := []string{"there is no room now for " + strings.Join(names, " and ")}
	for i := range pl.bays {
		b := &pl.bays[i]
		if !b.gone && !b.closed && b.isWhole() && b.MIGResets && !pl.policy.CanReset {
			why = append(why, fmt.Sprintf("card %d is free, but its MIG mode changes with a reset only, which ds01 may not do", b.Index))
		}
	}
	if left := pl.settling(); left > 0 {
		why = append(why, fmt.Sprintf("an instance that just became free is kept for another %s", left.Round(time.Second)))
	}
	return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", strings.Join(why, "; "), nextWait)
}

// settling returns how long it takes until one more instance may be folded, 0
// if waiting frees none.
func (pl *planner) settling() time.Duration {
	var least time.Duration
	for i := range pl.bays {
		b := &pl.bays[i]
		for j := range b.Instances {
			left := pl.policy.Hysteresis - pl.now.Sub(pl.host.FreedAt[b.Instances[j].UUID])
			if !b.closed && b.stays.has(j) && left > 0 && (least == 0 || left < least) {
				least = left
			}
		}
	}
	return least
}
