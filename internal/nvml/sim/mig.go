package sim

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Profiles returns the MIG profiles that the card offers, smallest first. It
// answers whatever the card's MIG mode is.
func (d *Driver) Profiles(_ context.Context, cardUUID string) ([]gpu.Profile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.answering(cardUUID)
	if err != nil {
		return nil, err
	}
	return c.model.table(), nil
}

// SetMIGMode turns MIG on or off. On Ampere the change waits for a reset of
// the card, and resetNeeded says so; later cards change at once. A card with
// processes or instances is refused with ErrConflict.
func (d *Driver) SetMIGMode(_ context.Context, cardUUID string, on bool) (resetNeeded bool, err error) {
	d.half()
	defer d.half()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.answering(cardUUID)
	if err != nil {
		return false, err
	}
	if on != c.mig {
		if why := c.busy(); why != "" {
			return false, conflict(fmt.Sprintf("MIG mode of card %d not changed", c.index), why, "Stop what uses the card, then try again.")
		}
	}
	c.migPending = on
	if !c.model.resets {
		c.activate()
	}
	return c.mig != c.migPending, d.save()
}

// Reset resets a card, as 'nvidia-smi --gpu-reset' does on a real one, and so
// makes a waiting MIG mode take effect. A card with processes or instances is
// refused with ErrConflict.
func (d *Driver) Reset(_ context.Context, cardUUID string) error {
	d.half()
	defer d.half()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.answering(cardUUID)
	if err != nil {
		return err
	}
	if why := c.busy(); why != "" {
		return conflict(fmt.Sprintf("card %d not reset", c.index), why, "Stop what uses the card, then try again.")
	}
	c.activate()
	c.health = gpu.Health{Remedy: min(c.health.Remedy, gpu.RemedyNone)}
	return d.save()
}

// activate makes the pending mode the card's mode.
func (c *card) activate() {
	if c.mig != c.migPending {
		c.mig, c.load = c.migPending, load{}
	}
}

// busy says what uses the card, or "".
func (c *card) busy() string {
	switch {
	case len(c.instances) > 0:
		return fmt.Sprintf("the card has %d MIG instances", len(c.instances))
	case len(c.processes) > 0:
		return fmt.Sprintf("%d processes use the card", len(c.processes))
	}
	return ""
}

// CreateInstance makes a MIG instance, with one compute instance that fills
// it, whose first memory slice is start. Its MIG device index is the lowest
// that is free. A profile or place that the card doesn't offer is ErrInvalid;
// MIG off, no room and an overlap are ErrConflict.
func (d *Driver) CreateInstance(_ context.Context, cardUUID, profile string, start int) (gpu.Instance, error) {
	d.half()
	defer d.half()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.answering(cardUUID)
	if err != nil {
		return gpu.Instance{}, err
	}
	made, err := c.create(profile, start)
	if err == nil {
		err = d.save()
	}
	return made, err
}

func (c *card) create(profile string, start int) (gpu.Instance, error) {
	p, at, err := c.placement(profile, start)
	if err != nil {
		return gpu.Instance{}, err
	}
	if why := c.noRoom(p, at); why != "" {
		return gpu.Instance{}, conflict(fmt.Sprintf("no %s created at %d of card %d", profile, start, c.index), why, "Remove an instance, or choose another place.")
	}
	index := 0
	for index < len(c.instances) && c.instances[index].Index == index {
		index++
	}
	slicesOfCard, _ := gpu.Capacity(c.model.profiles)
	in := &instance{Instance: gpu.Instance{
		UUID: uuid("MIG-", c.uuid, profile, strconv.Itoa(start)), Index: index, Profile: profile,
		Slices: p.Slices, SlicesOfCard: slicesOfCard, Start: at.Start, Size: at.Size, MemoryBytes: p.MemoryBytes,
		Nodes: []gpu.Node{node(fmt.Sprintf("nvidia%d-mig%d", c.index, start), c.index*minorsPerCard+1+start)},
	}}
	c.instances = slices.Insert(c.instances, index, in)
	made := in.Instance
	made.Nodes = slices.Clone(made.Nodes)
	return made, nil
}

// placement finds the profile and the place in the card's table.
func (c *card) placement(profile string, start int) (gpu.Profile, gpu.Placement, error) {
	what := fmt.Sprintf("no %s created on card %d", profile, c.index)
	if !c.mig || !c.migPending {
		why, next := "MIG is off", "Turn MIG on first."
		if c.mig != c.migPending {
			why, next = "a change of the MIG mode waits for a reset of the card", "Reset the card first."
		}
		return gpu.Profile{}, gpu.Placement{}, conflict(what, why, next)
	}
	i := slices.IndexFunc(c.model.profiles, func(p gpu.Profile) bool { return p.Name == profile })
	if i < 0 {
		return gpu.Profile{}, gpu.Placement{}, invalid(what, "the card has no such profile", "It has "+c.model.profileNames()+".")
	}
	p := c.model.profiles[i]
	at := slices.IndexFunc(p.Placements, func(at gpu.Placement) bool { return at.Start == start })
	if at < 0 {
		return gpu.Profile{}, gpu.Placement{}, invalid(what, fmt.Sprintf("it can't start at %d", start), "The card offers "+p.String()+".")
	}
	return p, p.Placements[at], nil
}

// noRoom says what stands in the way of one more instance, or "".
func (c *card) noRoom(p gpu.Profile, at gpu.Placement) string {
	count, compute, memory := 1, p.Slices, p.MemoryBytes
	slicesOfCard, mostMemory := gpu.Capacity(c.model.profiles)
	for _, in := range c.instances {
		compute += in.Slices
		memory += in.MemoryBytes
		if in.Profile == p.Name {
			count++
		}
		if at.Overlaps(gpu.Placement{Start: in.Start, Size: in.Size}) {
			return fmt.Sprintf("%s stands at %d", in.Profile, in.Start)
		}
	}
	switch {
	case count > p.Max:
		return fmt.Sprintf("the card holds at most %d of it", p.Max)
	case compute > slicesOfCard:
		return fmt.Sprintf("the card has %d compute slices", slicesOfCard)
	case memory > mostMemory:
		return fmt.Sprintf("the card's instances have at most %d MiB of memory", mostMemory/mib)
	}
	return ""
}

// DestroyInstance removes an instance with its compute instance. Processes on
// it are ErrConflict, an unknown UUID is ErrNotFound.
func (d *Driver) DestroyInstance(_ context.Context, uuid string) error {
	d.half()
	defer d.half()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, in, err := d.device(uuid)
	switch {
	case err != nil:
		return err
	case in == nil:
		return invalid("card "+uuid+" not destroyed", "it is a card, not a MIG instance", "")
	case c.lost:
		return lost(c)
	case len(in.processes) > 0:
		return conflict("instance "+uuid+" not destroyed", fmt.Sprintf("%d processes use it", len(in.processes)), "Stop them, then try again.")
	}
	c.instances = slices.DeleteFunc(c.instances, func(o *instance) bool { return o == in })
	return d.save()
}

// answering finds a card that isn't lost. The caller holds the lock.
func (d *Driver) answering(cardUUID string) (*card, error) {
	c, err := d.card(cardUUID)
	if err != nil {
		return nil, err
	}
	if c.lost {
		return nil, lost(c)
	}
	return c, nil
}

func lost(c *card) error {
	return &problem.Error{
		What: fmt.Sprintf("card %d (%s)", c.index, c.uuid),
		Why:  problem.Because(problem.ErrUnavailable, "the card doesn't answer (GPU is lost)"),
	}
}
