package gpu

import (
	"fmt"
	"slices"
	"time"
)

// Work is a plan that is being carried out. The zero Work is none.
type Work struct {
	Steps []Step // that are still to be done, in this order
	Why   string // what they are for
	Began time.Time
}

// Done reports whether the host is already as the step leaves it.
func (s Step) Done(h Host) bool {
	c := h.card(s.CardUUID)
	if c == nil {
		return false
	}
	switch s.Verb {
	case Destroy:
		return !slices.ContainsFunc(c.Instances, func(in Instance) bool { return in.UUID == s.Instance })
	case Create:
		return slices.ContainsFunc(c.Instances, func(in Instance) bool {
			return in.Profile == s.Profile && in.Start == s.At.Start && in.Size == s.At.Size
		})
	case EnableMIG:
		return c.MIG && !c.MIGWaits
	case DisableMIG:
		return !c.MIG && !c.MIGWaits
	}
	return false
}

// Obstacle says why a step must not be carried out on the host as it is, ""
// for nothing: it would touch what a claim holds, a card that somebody uses
// without one, or one that is ill or, unless that was declared, drained. Whether there is room for an instance is the driver's to say.
func (s Step) Obstacle(h Host) string {
	c := h.card(s.CardUUID)
	switch {
	case c == nil:
		return "the card is gone"
	case c.Problem != "":
		return c.Problem
	case c.Drained != "" && !s.Declared:
		return "it is drained: " + c.Drained
	case c.MIGWaits:
		return "a change of its MIG mode waits for a reset of the card"
	}
	on := []string{c.UUID}
	for _, in := range c.Instances {
		on = append(on, in.UUID)
		if in.UUID == s.Instance && in.Problem != "" {
			return in.Problem
		}
	}
	for _, uuid := range on {
		if why, taken := h.Taken[uuid]; taken {
			return uuid + ": " + why
		}
	}
	for i := range h.Claims {
		cl := &h.Claims[i]
		holds := func(uuid string) bool {
			return uuid != "" && slices.ContainsFunc(cl.Devices, func(g Grant) bool { return g.UUID == uuid })
		}
		if cl.State != Released && (holds(c.UUID) || holds(s.Instance)) {
			return "claim " + cl.ID + " holds it"
		}
	}
	switch {
	case s.Verb == Create && !c.MIG:
		return "MIG is off"
	case (s.Verb == EnableMIG || s.Verb == DisableMIG) && len(c.Instances) > 0:
		return fmt.Sprintf("the card has %d MIG instances", len(c.Instances))
	}
	return ""
}

func (h Host) card(uuid string) *Card {
	i := slices.IndexFunc(h.Cards, func(c Card) bool { return c.UUID == uuid })
	if i < 0 {
		return nil
	}
	return &h.Cards[i]
}

// String says what the step does, "create 3g.40gb at 4 of card 0".
func (s Step) String() string {
	if s.Profile != "" {
		return fmt.Sprintf("%s %s at %d of card %d", s.Verb, s.Profile, s.At.Start, s.Card)
	}
	return fmt.Sprintf("%s on card %d", s.Verb, s.Card)
}
