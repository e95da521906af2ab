package daemon

import (
	"context"
	"path/filepath"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/partitioner"
	"ds01.dev/ds01/internal/warden"
)

// driver is the real driver or the simulated one.
type driver interface {
	partitioner.Driver
	Watch(ctx context.Context, tell func(gpu.Fault)) error
	Close() error
}

// guarded is a driver whose cards say what else keeps them from being granted.
type guarded struct {
	driver
	warden *warden.Warden
}

// Cards returns the driver's cards, marked.
func (g guarded) Cards(ctx context.Context) ([]gpu.Card, error) {
	cards, err := g.driver.Cards(ctx)
	if err == nil {
		g.warden.Mark(ctx, cards)
	}
	return cards, err
}

// openDriver opens the configured provider. A machine whose driver is broken
// gets an error, not a simulation.
func (d *daemon) openDriver(context.Context) error {
	c := d.settings.config().GPU
	if c.Provider == config.Sim {
		s, err := sim.New(sim.Config{GPUs: c.Sim.GPUs, MIG: c.Sim.MIG, Takes: c.Sim.TakesFor(), File: filepath.Join(d.paths.RunDir, "sim-cards.json")})
		if err != nil {
			return err
		}
		d.driver, d.sim = s, simulator{s, d.refreshSimulated}
	} else {
		hardware, err := nvml.Open()
		if err != nil {
			return err
		}
		d.driver = hardware
	}
	d.onClose(d.driver.Close)
	return nil
}

// simulator sets what simulated devices report.
type simulator struct {
	driver  *sim.Driver
	refresh func(ctx context.Context) error
}

// Simulate hands the values on, and has everybody know of them.
func (s simulator) Simulate(ctx context.Context, uuid string, r apitype.SimReading) error {
	if err := s.driver.Set(uuid, sim.Override{
		Utilization: r.UtilizationPercent, Memory: r.MemoryUsedBytes, Power: r.PowerWatts, Temperature: r.TemperatureC,
	}); err != nil {
		return err
	}
	if err := s.ail(uuid, r); err != nil {
		return err
	}
	return s.refresh(ctx)
}

// ail lets a card or an instance be ill, or a card be well again.
func (s simulator) ail(uuid string, r apitype.SimReading) error {
	if r.ECCErrors != nil || r.RowRemap != nil || r.RetirePending != nil {
		if err := s.driver.SetHealth(uuid, func(h *gpu.Health) { setHealth(h, r) }); err != nil {
			return err
		}
	}
	if r.Processes != nil {
		processes := make([]gpu.Process, len(*r.Processes))
		for i, pid := range *r.Processes {
			processes[i] = gpu.Process{PID: pid}
		}
		if err := s.driver.SetProcesses(uuid, processes); err != nil {
			return err
		}
	}
	if r.Lost != nil {
		lose := s.driver.Heal
		if *r.Lost {
			lose = s.driver.Lose
		}
		if err := lose(uuid); err != nil {
			return err
		}
	}
	if r.Unreadable != nil {
		if err := s.driver.Garble(uuid, *r.Unreadable); err != nil {
			return err
		}
	}
	if r.XID != nil {
		return s.driver.Strike(uuid, *r.XID)
	}
	return nil
}

func setHealth(h *gpu.Health, r apitype.SimReading) {
	if r.ECCErrors != nil {
		h.Uncorrectable = *r.ECCErrors
	}
	if r.RowRemap != nil {
		h.RemapPending, h.RemapFailed = *r.RowRemap == apitype.RemapPending, *r.RowRemap == apitype.RemapFailed
	}
	if r.RetirePending != nil {
		h.RetirePending = *r.RetirePending
	}
}

// permitted is the driver as the inventory sees it: with gpu.mig.mode off, no
// instance can be granted.
type permitted struct {
	driver
	settings *settings
}

// Cards tells what the driver does.
func (p permitted) Cards(ctx context.Context) ([]gpu.Card, error) {
	cards, err := p.driver.Cards(ctx)
	if p.settings.config().GPU.MIG.Mode == string(gpu.MIGOff) {
		for _, c := range cards {
			for i := range c.Instances {
				c.Instances[i].Problem = "MIG instances aren't granted here (gpu.mig.mode is off)"
			}
		}
	}
	return cards, err
}
