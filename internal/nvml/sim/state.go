package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"ds01.dev/ds01/internal/gpu"
)

// A state is what a real card keeps while programs that use it come and go.
type state struct {
	Config string // that it belongs to
	Cards  []cardState
}

type cardState struct {
	MIG, MIGPending  bool
	Instances        []instanceState
	Override         Override
	Lost, Unreadable bool
	Health           gpu.Health
}

type instanceState struct {
	Profile      string
	Index, Start int
	Override     Override
}

// load brings the cards into the state of the file, if it is there and of the
// same configuration, and reports whether it did.
func (d *Driver) load() (bool, error) {
	if d.file == "" {
		return false, nil
	}
	data, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return false, fmt.Errorf("state of the simulated cards: %w", err)
	}
	if s.Config != d.config || len(s.Cards) != len(d.cards) {
		return false, nil
	}
	for i, c := range s.Cards {
		if err := d.cards[i].restore(c); err != nil {
			return false, fmt.Errorf("state of the simulated cards, %s: %w", d.file, err)
		}
	}
	return true, nil
}

func (c *card) restore(s cardState) error {
	c.mig, c.migPending = true, true // instances need it
	for _, in := range s.Instances {
		if _, err := c.create(in.Profile, in.Start); err != nil {
			return err
		}
		at := slices.IndexFunc(c.instances, func(o *instance) bool { return o.Start == in.Start })
		c.instances[at].Index, c.instances[at].override = in.Index, in.Override
		slices.SortFunc(c.instances, func(a, b *instance) int { return a.Index - b.Index })
	}
	c.mig, c.migPending = s.MIG, s.MIGPending
	c.override, c.lost, c.unreadable, c.health = s.Override, s.Lost, s.Unreadable, s.Health
	return nil
}

// save writes the state to the file, if there is one. The caller holds the
// lock.
func (d *Driver) save() error {
	if d.file == "" {
		return nil
	}
	s := state{Config: d.config}
	for _, c := range d.cards {
		cs := cardState{MIG: c.mig, MIGPending: c.migPending, Override: c.override, Lost: c.lost, Unreadable: c.unreadable, Health: c.health}
		for _, in := range c.instances {
			cs.Instances = append(cs.Instances, instanceState{in.Profile, in.Index, in.Start, in.override})
		}
		s.Cards = append(s.Cards, cs)
	}
	data, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(d.file+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(d.file+".new", d.file)
	}
	if err != nil {
		return fmt.Errorf("state of the simulated cards: %w", err)
	}
	return nil
}
