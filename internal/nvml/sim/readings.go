package sim

import (
	"context"
	"fmt"
	"slices"

	"ds01.dev/ds01/internal/gpu"
)

// What a card reads when nobody drives it, as an idle data-centre card does.
const (
	idlePowerWatts   = 60
	idleTemperatureC = 35
	maxPowerWatts    = 2000 // more than any card draws
	maxTemperatureC  = 150
)

// An Override is what a card or instance shall read. A nil field stays as it
// is.
type Override struct {
	Utilization *int     // percent, 0 to 100
	Memory      *int64   // bytes in use, 0 to what the device has
	Power       *float64 // watts, 0 to 2000, of a whole card
	Temperature *int     // degrees Celsius, 0 to 150, of a whole card
}

// A load is what drives a device's readings.
type load struct {
	override  Override
	processes []gpu.Process
}

// Set drives the readings of a card or instance from now on. Power and
// temperature belong to whole cards; with MIG on, utilisation and memory
// belong to instances. A number out of range and a field that the device
// doesn't have are ErrInvalid and change nothing.
func (d *Driver) Set(uuid string, o Override) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, in, err := d.device(uuid)
	if err != nil {
		return err
	}
	target, memory := &c.load, c.model.memoryBytes
	if in != nil {
		target, memory = &in.load, in.MemoryBytes
	}
	if why := o.misplaced(c, in); why != "" {
		return invalid("readings of "+uuid+" not set", why, "Run 'ds01 gpu list' to see the devices.")
	}
	if why := o.outOfRange(memory); why != "" {
		return invalid("readings of "+uuid+" not set", why, "")
	}
	target.override.merge(o)
	return d.save()
}

// misplaced says which field the device doesn't have, or "".
func (o Override) misplaced(c *card, in *instance) string {
	switch {
	case in != nil && (o.Power != nil || o.Temperature != nil):
		return "power and temperature are the card's: set them on " + c.uuid
	case in == nil && c.mig && (o.Utilization != nil || o.Memory != nil):
		return "MIG is on: utilisation and memory are set on the card's instances"
	}
	return ""
}

func (o Override) outOfRange(memory int64) string {
	switch {
	case o.Utilization != nil && (*o.Utilization < 0 || *o.Utilization > 100):
		return fmt.Sprintf("utilisation is %d and must be 0 to 100 percent", *o.Utilization)
	case o.Memory != nil && (*o.Memory < 0 || *o.Memory > memory):
		return fmt.Sprintf("memory is %d bytes and must be 0 to %d, which is what the device has", *o.Memory, memory)
	case o.Power != nil && !(*o.Power >= 0 && *o.Power <= maxPowerWatts): // also refuses NaN
		return fmt.Sprintf("power is %g and must be 0 to %d watts", *o.Power, maxPowerWatts)
	case o.Temperature != nil && (*o.Temperature < 0 || *o.Temperature > maxTemperatureC):
		return fmt.Sprintf("temperature is %d and must be 0 to %d °C", *o.Temperature, maxTemperatureC)
	}
	return ""
}

func (o *Override) merge(other Override) {
	merge(&o.Utilization, other.Utilization)
	merge(&o.Memory, other.Memory)
	merge(&o.Power, other.Power)
	merge(&o.Temperature, other.Temperature)
}

func merge[T any](old **T, v *T) {
	if v != nil {
		*old = new(*v)
	}
}

// SetProcesses says which processes use a card or instance; nil ends them. A
// device in use can't be reset, destroyed or change its MIG mode. A PID below
// 1, negative memory, and together more than the device has are ErrInvalid, as
// are processes on a card with MIG on.
func (d *Driver) SetProcesses(uuid string, processes []gpu.Process) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, in, err := d.device(uuid)
	if err != nil {
		return err
	}
	what := "processes of " + uuid + " not set"
	target, memory := &c.load, c.model.memoryBytes
	if in != nil {
		target, memory = &in.load, in.MemoryBytes
	} else if c.mig {
		return invalid(what, "MIG is on: processes run on the card's instances", "")
	}
	left := memory
	for _, p := range processes {
		switch {
		case p.PID < 1:
			return invalid(what, fmt.Sprintf("%d is no process", p.PID), "")
		case p.MemoryBytes < 0 || p.MemoryBytes > left:
			return invalid(what, fmt.Sprintf("the device has %d bytes of memory", memory), "")
		}
		left -= p.MemoryBytes
	}
	target.processes = slices.Clone(processes)
	return nil
}

// Readings returns what each card and instance reads, by UUID. A lost card
// and its instances have none; of what can't be read nothing is told, not even
// its processes.
func (d *Driver) Readings(ctx context.Context) (map[string]gpu.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read simulated cards: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string]gpu.Reading)
	for _, c := range d.cards {
		if c.lost {
			continue
		}
		whole := c.read()
		whole.PowerWatts, whole.TemperatureC = or(c.override.Power, idlePowerWatts), or(c.override.Temperature, idleTemperatureC)
		if c.mig {
			whole.UtilizationPercent = -1
		}
		for _, in := range c.instances {
			r := in.read()
			r.PowerWatts, r.TemperatureC = -1, -1
			if c.unreadable {
				r = nothing()
			}
			whole.MemoryUsedBytes += r.MemoryUsedBytes
			whole.Processes = append(whole.Processes, r.Processes...)
			all[in.UUID] = r
		}
		if c.unreadable {
			whole = nothing()
		}
		all[c.uuid] = whole
	}
	return all, nil
}

// nothing is what remains of a reading when all calls for it fail.
func nothing() gpu.Reading {
	return gpu.Reading{UtilizationPercent: -1, MemoryUsedBytes: -1, PowerWatts: -1, TemperatureC: -1, Unlisted: true}
}

// read returns the load's own numbers. Memory is what the processes hold
// unless it is driven.
func (l *load) read() gpu.Reading {
	var held int64
	for _, p := range l.processes {
		held += p.MemoryBytes
	}
	return gpu.Reading{
		UtilizationPercent: or(l.override.Utilization, 0),
		MemoryUsedBytes:    or(l.override.Memory, held),
		Processes:          slices.Clone(l.processes),
	}
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}
