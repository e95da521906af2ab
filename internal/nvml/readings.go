package nvml

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
)

// Readings returns what each card and instance reads, by UUID. What the driver
// doesn't tell is -1. A card that doesn't answer has no reading, nor have its
// instances.
func (d *Driver) Readings(ctx context.Context) (map[string]gpu.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read cards: %w", err)
	}
	n, ret := d.lib.DeviceGetCount()
	if ret != driver.SUCCESS {
		return nil, failed("count cards", ret)
	}
	all := make(map[string]gpu.Reading)
	for i := range n {
		if dev, ret := d.lib.DeviceGetHandleByIndex(i); ret == driver.SUCCESS {
			readCard(dev, all)
		}
	}
	return all, nil
}

// readCard adds the readings of a card and its instances to all.
func readCard(dev driver.Device, all map[string]gpu.Reading) {
	uuid, ret := dev.GetUUID()
	if ret != driver.SUCCESS {
		return
	}
	if _, ret := dev.GetMemoryInfo(); ret == driver.ERROR_GPU_IS_LOST {
		return
	}
	whole := read(dev)
	if milliwatts, ret := dev.GetPowerUsage(); ret == driver.SUCCESS {
		whole.PowerWatts = float64(milliwatts) / 1000
	}
	if celsius, ret := dev.GetTemperature(driver.TEMPERATURE_GPU); ret == driver.SUCCESS {
		whole.TemperatureC = int(celsius)
	}
	if mode, _, ret := dev.GetMigMode(); ret == driver.SUCCESS && mode == driver.DEVICE_MIG_ENABLE {
		whole.UtilizationPercent = -1
		for _, mig := range migDevices(dev) {
			if uuid, ret := mig.GetUUID(); ret == driver.SUCCESS {
				all[uuid] = read(mig)
			}
		}
	}
	all[uuid] = whole
}

// read returns what a card and an instance have in common.
func read(dev driver.Device) gpu.Reading {
	r := gpu.Reading{UtilizationPercent: -1, MemoryUsedBytes: -1, PowerWatts: -1, TemperatureC: -1}
	r.Processes, r.Unlisted = processes(dev)
	if rates, ret := dev.GetUtilizationRates(); ret == driver.SUCCESS {
		r.UtilizationPercent = int(rates.Gpu)
	}
	if memory, ret := dev.GetMemoryInfo(); ret == driver.SUCCESS {
		r.MemoryUsedBytes = int64(memory.Used) //nolint:gosec // no card has 2^63 bytes
	}
	return r
}

// processes returns who computes or draws on a device, by PID. A list that the
// driver doesn't tell counts as empty; unlisted is set then, but not where nobody
// can draw.
func processes(dev driver.Device) (all []gpu.Process, unlisted bool) {
	compute, told := dev.GetComputeRunningProcesses()
	graphics, drawn := dev.GetGraphicsRunningProcesses()
	unlisted = told != driver.SUCCESS || drawn != driver.SUCCESS && drawn != driver.ERROR_NOT_SUPPORTED
	byPID := make(map[int]gpu.Process)
	for _, p := range slices.Concat(compute, graphics) {
		memory := int64(-1)
		if p.UsedGpuMemory <= math.MaxInt64 {
			memory = int64(p.UsedGpuMemory)
		}
		pid := int(p.Pid)
		if old, listed := byPID[pid]; !listed || memory > old.MemoryBytes {
			byPID[pid] = gpu.Process{PID: pid, MemoryBytes: memory}
		}
	}
	return slices.SortedFunc(maps.Values(byPID), func(a, b gpu.Process) int { return cmp.Compare(a.PID, b.PID) }), unlisted
}
