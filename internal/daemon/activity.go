package daemon

import (
	"fmt"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/procfs"
	"ds01.dev/ds01/internal/sampler"
)

// newSampler returns what tells the activity of containers.
func (d *daemon) newSampler() *sampler.Sampler {
	h, began := d.host, time.Now()
	return sampler.New(sampler.Parts{
		Running: d.runs, Groups: h.tree, Group: h.container, Process: h.firstProcess, Readings: h.readings, Cards: d.inventory.Cards,
		Members: func(c sampler.Container) map[int]bool { return h.tree.Processes(h.container(c.UID, c.ID)) },
		Clock:   func() time.Duration { return time.Since(began) }, Terminals: &d.terminals,
		Reached: d.reconciler.Up, Log: d.Log,
	})
}

// runs lists the claims' containers in which processes are.
func (d *daemon) runs() []sampler.Container {
	views := d.reconciler.Views(func(r container.Record) bool { return r.State == gpu.Running })
	var all []sampler.Container
	for _, v := range views {
		if !v.Observed.Running() || v.Observed.PID == 0 {
			continue
		}
		c := sampler.Container{Claim: v.Record.ID, UID: v.Record.UID, ID: v.Observed.ID, PID: v.Observed.PID, Started: v.Observed.StartedAt}
		for _, g := range v.Record.Devices {
			c.Devices = append(c.Devices, g.UUID)
		}
		all = append(all, c)
	}
	return all
}

// firstProcess opens a container's first process.
func (h *host) firstProcess(c sampler.Container) (sampler.Process, error) {
	p, err := procfs.Open(c.PID)
	if err != nil {
		return nil, err
	}
	if !h.holds(c.UID, c.ID, c.PID) { // it is another's by now
		_ = p.Close() // nothing was written to it
		return nil, fmt.Errorf("container %s has ended", c.ID)
	}
	return p, nil
}
