package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// mig shows what the cards are cut into.
func (c *call) mig() error {
	h, err := c.Cards.Look(c.r.Context())
	if err != nil {
		return err
	}
	all := apitype.MIG{Cards: []apitype.MIGCard{}}
	for i := range h.Cards {
		card := &h.Cards[i]
		one := apitype.MIGCard{
			Card: card.Index, UUID: card.UUID, Model: card.Model, Enabled: card.MIG, Waits: card.MIGWaits, Drained: c.Warden.IsDrained(card.UUID),
			Instances: instances(card.Index, card.Instances), Layouts: gpu.Fillings(gpu.ProfilesOf(h.Cards, *card)),
		}
		if one.Layouts == nil {
			one.Layouts = []map[string]int{}
		}
		all.Cards = append(all.Cards, one)
	}
	return c.answer(all)
}

func instances(card int, of []gpu.Instance) []apitype.MIGInstance {
	all := []apitype.MIGInstance{}
	for _, in := range of {
		all = append(all, apitype.MIGInstance{
			UUID: in.UUID, Slot: fmt.Sprintf("%d.%d", card, in.Index), Profile: in.Profile, Start: in.Start, Size: in.Size,
		})
	}
	return all
}

// readLayout reads the file of the request.
func (c *call) readLayout() (l gpu.Layout, file apitype.LayoutFile, err error) {
	if err = c.read(&file); err != nil {
		return nil, file, err
	}
	read, err := layout.Decode(file.Name, []byte(file.YAML))
	if err != nil {
		return nil, file, err
	}
	l, err = read.Choose(file.Config)
	return l, file, err
}

// planMIG tells what a layout would change, and changes nothing.
func (c *call) planMIG() error {
	l, file, err := c.readLayout()
	if err != nil {
		return err
	}
	h, err := c.Cards.Look(c.r.Context())
	if err != nil {
		return err
	}
	plans, err := gpu.PlanLayout(h, l)
	if err != nil {
		return err
	}
	told, _, _ := c.judge(plans, file.SkipResets) // a refusal is in what is told
	return c.answer(told)
}

// applyMIG makes the cards as a layout declares, and tells of each step. What
// is begun is done to its end, whether the caller stays or not.
func (c *call) applyMIG() error {
	l, file, err := c.readLayout()
	if err != nil {
		return err
	}
	c.entry.Note(func(e *event.Event) { e.Object = file.Name })
	ctx := context.WithoutCancel(c.r.Context())
	ready := func(plans []gpu.CardPlan) ([]gpu.Step, error) {
		told, steps, err := c.judge(plans, file.SkipResets)
		if err == nil && file.Seen != "" && file.Seen != told.Digest {
			err = otherPlan()
		}
		if err != nil {
			return nil, err
		}
		c.entry.Note(func(e *event.Event) { e.GPUs = describeSteps(steps) })
		if err := recorder.Before(ctx); err != nil {
			return nil, err
		}
		c.tell(apitype.MIGProgress{Plan: &told})
		return steps, nil
	}
	err = c.Cards.Apply(ctx, l, ready, func(s gpu.Step) {
		done := describeStep(s)
		c.tell(apitype.MIGProgress{Step: &done})
	})
	if err != nil {
		return err
	}
	c.tell(apitype.MIGProgress{Done: true})
	return nil
}

func otherPlan() error {
	return &problem.Error{
		What: "MIG layout not applied, nothing was touched",
		Why:  problem.Because(problem.ErrConflict, "the cards, or who uses them, are no longer as they were when you saw the plan"),
		Next: "Look at the plan again: ds01 gpu mig plan.", Code: "LAYOUT_CHANGED",
	}
}

// tell sends one document of a stream.
func (c *call) tell(p apitype.MIGProgress) {
	if !c.streams {
		c.w.Header().Set("Content-Type", "application/x-ndjson")
		c.streams = true
	}
	_ = json.NewEncoder(c.w).Encode(p)          // a client that went needs no answer
	_ = http.NewResponseController(c.w).Flush() // fails only with the next write
}

// judge says what the plans come to: the steps to be carried out, or what is
// in the way, with who holds it.
func (c *call) judge(plans []gpu.CardPlan, skipResets bool) (apitype.MIGPlan, []gpu.Step, error) {
	told := apitype.MIGPlan{Cards: []apitype.MIGCardPlan{}, Notes: c.notes(plans)}
	for i := range plans {
		told.Cards = append(told.Cards, c.describeLayout(&plans[i]))
	}
	steps, err := gpu.Ready(plans, skipResets)
	if err != nil {
		doc := problem.Describe(err)
		told.Refusal = &doc
	}
	told.Steps = len(steps)
	told.Digest = fmt.Sprintf("%x", sha256.Sum256([]byte(describeSteps(steps))))
	return told, steps, err
}

// notes returns what whoever applies the plans should know.
func (c *call) notes(plans []gpu.CardPlan) []string {
	notes := []string{}
	makes := func(p gpu.CardPlan) bool {
		return slices.ContainsFunc(p.Steps, func(s gpu.Step) bool { return s.Verb == gpu.Create })
	}
	if slices.ContainsFunc(plans, makes) {
		switch c.State().MIGMode {
		case gpu.MIGDynamic:
			notes = append(notes, "gpu.mig.mode is dynamic: instances that nobody holds are folded again")
		case gpu.MIGOff:
			notes = append(notes, "gpu.mig.mode is off: nobody is granted an instance")
		default:
		}
	}
	for _, r := range c.Ledger.Reservations() {
		for _, slot := range r.Devices {
			changes := func(p gpu.CardPlan) bool {
				return slices.ContainsFunc(p.Steps, func(s gpu.Step) bool {
					return s.Instance == slot || strings.HasPrefix(slot, strconv.Itoa(s.Card)+".")
				})
			}
			if slices.ContainsFunc(plans, changes) {
				notes = append(notes, fmt.Sprintf("%s is reserved for %s: it may be another instance then, or none", slot, r.Login))
			}
		}
	}
	return notes
}

// describeLayout describes the plan for a card, and writes into it who holds what
// is in the way.
func (c *call) describeLayout(p *gpu.CardPlan) apitype.MIGCardPlan {
	out := apitype.MIGCardPlan{
		Card: p.Card, UUID: p.CardUUID, Model: p.Model, Kept: instances(p.Card, p.Kept), NeedsReset: p.NeedsReset(),
		Steps: []apitype.MIGStep{}, InTheWay: []apitype.MIGHindrance{},
	}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, describeStep(s))
	}
	for i := range p.InTheWay {
		b := &p.InTheWay[i]
		one := apitype.MIGHindrance{UUID: b.Device, Slot: b.Slot, NeedsReset: b.Reset, Next: b.Next}
		if b.Claim != "" {
			one.User, one.Container = c.holderOf(b.Claim)
			b.Why += heldBy(one.User, one.Container)
		}
		one.Why = b.Why
		out.InTheWay = append(out.InTheWay, one)
	}
	return out
}

// holderOf returns who a claim belongs to and for which container; none is for
// whose turn in the queue it is.
func (c *call) holderOf(claim string) (user, container string) {
	if r, ok := c.Ledger.Record(claim); ok {
		return r.Login, r.Name
	}
	for _, s := range c.Ledger.Queue() {
		if s.Ticket.ID == claim {
			return s.Ticket.Login, ""
		}
	}
	return "", ""
}

func heldBy(user, container string) string {
	switch {
	case user == "":
		return "" // it was given back meanwhile
	case container == "":
		return " for " + user + ", whose turn in the queue it is"
	}
	return " by " + user + " (" + container + ")"
}

func describeStep(s gpu.Step) apitype.MIGStep {
	return apitype.MIGStep{Do: string(s.Verb), Card: s.Card, UUID: s.Instance, Profile: s.Profile, Start: s.At.Start, Reason: s.Reason}
}

func describeSteps(steps []gpu.Step) string {
	all := make([]string, len(steps))
	for i, s := range steps {
		all[i] = s.String()
	}
	return strings.Join(all, "; ")
}
