package api

import (
	"errors"
	"os"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// window is how long processor time is watched: long enough for the kernel's
// counters to move, short enough for a command.
const window = 50 * time.Millisecond

func (c *call) stats() error {
	everybody := c.r.URL.Query().Get("all_users") == "true"
	if everybody && !c.roles.Admin {
		return adminsOnly("Other people's containers")
	}
	var running []container.Record
	for _, r := range c.Ledger.Records() {
		if r.State == gpu.Running && (everybody || r.UID == c.owner.UID) {
			running = append(running, r)
		}
	}
	readings, err := c.Readings(c.r.Context())
	if err != nil {
		return err
	}
	devices := map[string]gpu.Device{}
	for _, d := range c.Devices() {
		devices[d.UUID] = d
	}
	before, began := c.sample(running), time.Now() //nolint:forbidigo // a measurement, not a decision
	select {
	case <-c.r.Context().Done():
		return nil
	case <-time.After(window):
	}
	elapsed := time.Since(began) //nolint:forbidigo // a measurement, not a decision
	after := c.sample(running)
	all := []apitype.Stats{}
	for _, r := range running {
		s, ok := after[r.ID]
		if !ok {
			continue // it ended meanwhile
		}
		row := apitype.Stats{
			ID: r.ContainerID, Name: r.Name, User: r.Login, MemoryBytes: s.MemoryBytes,
			MemoryLimitBytes: s.MemoryLimit, Pids: s.Pids, GPUs: []apitype.GPUUsage{},
		}
		if b, ok := before[r.ID]; ok {
			row.CPUPercent = float64(s.CPUNanos-b.CPUNanos) / float64(elapsed) * 100
		}
		seen := c.Lookout.Of(r.ID)
		row.MemoryPeakBytes, row.CPUThrottledPercent = int64(seen.Peak), seen.Throttled
		for _, g := range r.Devices {
			row.GPUs = append(row.GPUs, usage(devices[g.UUID], readings[g.UUID]))
		}
		all = append(all, row)
	}
	return c.answer(all)
}

// sample reads the control group of each container that has one.
func (c *call) sample(running []container.Record) map[string]Sample {
	samples := make(map[string]Sample, len(running))
	for _, r := range running {
		s, err := c.Usage.Container(r.UID, r.ContainerID)
		if err == nil {
			samples[r.ID] = s
		} else if !errors.Is(err, os.ErrNotExist) {
			c.Log.WarnContext(c.r.Context(), "usage not read", "container", r.ContainerID, "error", err)
		}
	}
	return samples
}

func (c *call) dashboard() error {
	gpus, err := c.allGPUs()
	if err != nil {
		return err
	}
	d := apitype.Dashboard{
		Host: c.Host, At: c.Now().UTC(), Version: c.describeSelf(), GPUs: gpus,
		Containers: c.list(c.roles.Admin), Warnings: c.State().Warnings,
	}
	if !c.roles.Admin {
		d.Users = []apitype.UserLimits{c.limitsOf(c.owner)}
		return c.answer(d)
	}
	people, err := c.people()
	if err != nil {
		return err
	}
	for _, a := range people {
		if _, _, containers := c.Ledger.Used(a.UID); containers > 0 {
			d.Users = append(d.Users, c.limitsOf(a))
		}
	}
	return c.answer(d)
}
