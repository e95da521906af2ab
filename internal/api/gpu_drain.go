package api

import (
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/warden"
)

// drain keeps a card from being granted. What runs on it goes on.
func (c *call) drain() error {
	var want apitype.Drain
	if err := c.read(&want); err != nil {
		return err
	}
	c.entry.Note(func(e *event.Event) { e.Why = want.Reason })
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	d, err := c.Warden.Drain(c.r.Context(), c.r.PathValue("uuid"), want.Reason, c.who.Name)
	if err != nil {
		return err
	}
	return c.answer(c.describeCard(d))
}

func (c *call) undrain() error {
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	d, err := c.Warden.Undrain(c.r.Context(), c.r.PathValue("uuid"))
	if err != nil {
		return err
	}
	return c.answer(c.describeCard(d))
}

func (c *call) describeCard(d warden.Drained) apitype.Card {
	out := apitype.Card{
		UUID: d.Card.UUID, Card: d.Card.Index, Model: d.Card.Model, Drained: d.Card.Drained != "",
		Reason: d.Drain.Reason, By: d.Drain.By, Since: moment(d.Drain.Since), Problem: d.Card.Problem, Next: d.Card.Mend, Holders: []string{},
	}
	on := map[string]bool{}
	for _, device := range gpu.Devices([]gpu.Card{d.Card}) {
		on[device.UUID] = true
	}
	for _, r := range c.Ledger.Records() {
		for _, g := range r.Devices {
			if r.State != gpu.Released && on[g.UUID] {
				out.Holders = append(out.Holders, r.Login+" ("+r.Name+") on "+g.Slot)
			}
		}
	}
	return out
}

// outOfService notes which devices aren't granted to anybody, and why.
func (c *call) outOfService(out *apitype.GPUWhy) {
	strangers := c.Warden.Strangers()
	for _, d := range c.Devices() {
		if all := strangers[d.UUID]; len(all) > 0 {
			out.Notes = append(out.Notes, "GPU "+d.Slot+" isn't granted now: "+gpu.Presence(all)+".")
		}
		if d.Problem == "" {
			continue
		}
		note := "GPU " + d.Slot + " isn't granted to anybody: " + d.Problem + "."
		if c.roles.Admin && d.Mend != "" {
			note += " " + d.Mend
		}
		out.Notes = append(out.Notes, note)
	}
}
