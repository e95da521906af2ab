package daemon

import (
	"context"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/nvml"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/partitioner"
)

// driver is the real driver or the simulated one.
type driver interface {
	partitioner.Driver
	Close() error
}

// openDriver opens the configured provider. A machine whose driver is broken
// gets an error, not a simulation.
func (d *daemon) openDriver(context.Context) error {
	c := d.settings.config().GPU
	if c.Provider == config.Sim {
		s, err := sim.New(sim.Config{GPUs: c.Sim.GPUs, MIG: c.Sim.MIG})
		if err != nil {
			return err
		}
		d.driver, d.sim = s, simulator{s}
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
type simulator struct{ driver *sim.Driver }

// Simulate hands the values on.
func (s simulator) Simulate(uuid string, r apitype.SimReading) error {
	return s.driver.Set(uuid, sim.Override{
		Utilization: r.UtilizationPercent, Memory: r.MemoryUsedBytes, Power: r.PowerWatts, Temperature: r.TemperatureC,
	})
}
