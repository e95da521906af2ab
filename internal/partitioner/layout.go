package partitioner

import (
	"context"
	"slices"

	"ds01.dev/ds01/internal/gpu"
)

// Look returns the host as it is now.
func (p *Partitioner) Look(ctx context.Context) (gpu.Host, error) {
	if err := p.Ledger.AwaitSight(ctx); err != nil {
		return gpu.Host{}, err
	}
	if err := p.stillLate(); err != nil {
		return gpu.Host{}, err
	}
	h := p.Ledger.Holds()
	return h, p.look(ctx, &h)
}

// Apply makes the cards as the layout declares. Nobody is granted a device on
// one that it names until that is done, one way or the other. ready says,
// knowing all that is in the way, which steps are carried out, and told hears
// of each that is done. For what becomes of steps after an error see Carry.
func (p *Partitioner) Apply(ctx context.Context, l gpu.Layout, ready func([]gpu.CardPlan) ([]gpu.Step, error), told func(gpu.Step)) error {
	return p.alone(ctx, func() error {
		cards, err := p.cards(ctx)
		if err != nil {
			return err
		}
		named, err := gpu.PlanLayout(gpu.Host{Cards: cards}, l)
		if err != nil {
			return err
		}
		for _, uuid := range devicesOf(cards, named) {
			_, open := p.Ledger.Close(uuid)
			defer open()
		}
		h := p.Ledger.Holds()
		if err := p.look(ctx, &h); err != nil {
			return err
		}
		plans, err := gpu.PlanLayout(h, l)
		if err != nil {
			return err
		}
		steps, err := ready(plans)
		if err != nil || len(steps) == 0 {
			return err
		}
		return p.carry(ctx, gpu.Work{Steps: steps, Why: "a declared layout", Began: p.Now().UTC()}, told)
	})
}

// devicesOf returns the UUIDs of the named cards and of what is on them.
func devicesOf(cards []gpu.Card, named []gpu.CardPlan) []string {
	var all []string
	for _, c := range cards {
		if !slices.ContainsFunc(named, func(n gpu.CardPlan) bool { return n.CardUUID == c.UUID }) {
			continue
		}
		all = append(all, c.UUID)
		for _, in := range c.Instances {
			all = append(all, in.UUID)
		}
	}
	return all
}
