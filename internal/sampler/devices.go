package sampler

import (
	"context"
	"slices"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
)

// devices are what the driver told at one moment.
type devices struct {
	readings map[string]gpu.Reading
	cards    []gpu.Card
	members  func(Container) map[int]bool
}

// devices asks the driver once for all. One that doesn't answer leaves nothing
// known.
func (s *Sampler) devices(ctx context.Context) devices {
	readings, err := s.Readings(ctx)
	if err != nil {
		s.Log.WarnContext(ctx, "GPUs not read, so all that have one count as busy", "error", err)
	}
	return devices{readings, s.Cards(), s.Members}
}

// of returns what the busiest of a container's devices does. A driver may not say
// of an instance how busy it is: of one that no process of the container has open
// that is known all the same.
func (d devices) of(c Container) lifecycle.Reading {
	busiest := 0
	for _, uuid := range c.Devices {
		r, ok := d.readings[uuid]
		switch {
		case ok && r.UtilizationPercent >= 0:
			busiest = max(busiest, r.UtilizationPercent)
		case !ok || d.open(c, uuid):
			return lifecycle.Reading{}
		}
	}
	return lifecycle.Known(float64(busiest))
}

// open reports whether a process of the container may have the device open.
func (d devices) open(c Container, uuid string) bool {
	all := d.readings[uuid].Processes
	unlisted := d.readings[uuid].Unlisted
	if card, ok := d.cardOf(uuid); ok { // which may list what its instances don't
		r, told := d.readings[card]
		all, unlisted = slices.Concat(all, r.Processes), unlisted || r.Unlisted || !told
	}
	if unlisted || len(all) == 0 {
		return unlisted
	}
	members := d.members(c) // one at least, else they can't be read
	return len(members) == 0 || slices.ContainsFunc(all, func(p gpu.Process) bool { return members[p.PID] })
}

// cardOf returns the card that an instance is of.
func (d devices) cardOf(instance string) (uuid string, ok bool) {
	for _, c := range d.cards {
		if slices.ContainsFunc(c.Instances, func(i gpu.Instance) bool { return i.UUID == instance }) {
			return c.UUID, true
		}
	}
	return "", false
}
