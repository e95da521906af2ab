package nvml_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing/fstest"
	"time"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// dgx is go-nvml's mock of eight A100, made to answer all that the adapter
// asks and to refuse what a driver refuses.
func dgx() *server.Server {
	s := dgxa100.New()
	s.EventSetCreateFunc = func() (driver.EventSet, driver.Return) { return quiet(), driver.SUCCESS }
	s.LookupSymbolFunc = func(string) error { return errors.New("an old driver") }
	for _, dev := range s.Devices {
		d := dev.(*server.Device)
		readable(&d.Device)
		d.GetUtilizationRatesFunc = func() (driver.Utilization, driver.Return) { return driver.Utilization{Gpu: 12}, driver.SUCCESS }
		d.GetMemoryAffinityFunc = func(int, driver.AffinityScope) ([]uint, driver.Return) {
			return []uint{1 << (d.Index / 4)}, driver.SUCCESS
		}
		d.GetP2PStatusFunc = func(other driver.Device, _ driver.GpuP2PCapsIndex) (driver.GpuP2PStatus, driver.Return) {
			if other == dev { // a card is no peer of its own
				return driver.P2P_STATUS_NOT_SUPPORTED, driver.SUCCESS
			}
			return driver.P2P_STATUS_OK, driver.SUCCESS
		}
		d.GetMaxMigDeviceCountFunc = func() (int, driver.Return) { return 8, driver.SUCCESS }
		d.GetMigDeviceHandleByIndexFunc = func(i int) (driver.Device, driver.Return) { return migDevice(d, i) }
		d.GetGpuInstanceByIdFunc = func(id int) (driver.GpuInstance, driver.Return) { return instanceByID(d, id) }
		create := d.CreateGpuInstanceWithPlacementFunc
		d.CreateGpuInstanceWithPlacementFunc = func(info *driver.GpuInstanceProfileInfo, at *driver.GpuInstancePlacement) (driver.GpuInstance, driver.Return) {
			if !room(d, info, at) {
				return nil, driver.ERROR_INSUFFICIENT_RESOURCES
			}
			gi, ret := create(info, at)
			strictInstance(gi.(*server.GpuInstance))
			return gi, ret
		}
	}
	return s
}

// quiet is a set in which nothing happens.
func quiet() *mock.EventSet {
	return &mock.EventSet{
		FreeFunc: func() driver.Return { return driver.SUCCESS },
		WaitFunc: func(uint32) (driver.EventData, driver.Return) {
			time.Sleep(time.Millisecond)
			return driver.EventData{}, driver.ERROR_TIMEOUT
		},
	}
}

// readable gives a device the readings that the mock leaves out.
func readable(d *mock.Device) {
	none := func() ([]driver.ProcessInfo, driver.Return) { return nil, driver.SUCCESS }
	d.GetComputeRunningProcessesFunc, d.GetGraphicsRunningProcessesFunc = none, none
	d.GetPowerUsageFunc = func() (uint32, driver.Return) { return 61500, driver.SUCCESS }
	d.GetTotalEccErrorsFunc = func(driver.MemoryErrorType, driver.EccCounterType) (uint64, driver.Return) { return 0, driver.SUCCESS }
	d.GetRemappedRowsFunc = func() (int, int, bool, bool, driver.Return) { return 0, 0, false, false, driver.SUCCESS }
	d.GetRetiredPagesPendingStatusFunc = func() (driver.EnableState, driver.Return) { return 0, driver.ERROR_NOT_SUPPORTED }
	d.GetFieldValuesFunc = func([]driver.FieldValue) driver.Return { return driver.ERROR_INVALID_ARGUMENT } // an old driver
	d.RegisterEventsFunc = func(uint64, driver.EventSet) driver.Return { return driver.SUCCESS }
	d.GetTemperatureFunc = func(driver.TemperatureSensors) (uint32, driver.Return) { return 31, driver.SUCCESS }
}

func room(d *server.Device, info *driver.GpuInstanceProfileInfo, at *driver.GpuInstancePlacement) bool {
	same := uint32(0)
	for gi := range d.GpuInstances {
		p := gi.Info.Placement
		if at.Start < p.Start+p.Size && p.Start < at.Start+at.Size {
			return false
		}
		if gi.Info.ProfileId == info.Id {
			same++
		}
	}
	return same < info.InstanceCount
}

func strictInstance(gi *server.GpuInstance) {
	destroy := gi.DestroyFunc
	gi.DestroyFunc = func() driver.Return {
		if len(gi.ComputeInstances) > 0 {
			return driver.ERROR_IN_USE
		}
		return destroy()
	}
	gi.GetComputeInstanceByIdFunc = func(id int) (driver.ComputeInstance, driver.Return) {
		for ci := range gi.ComputeInstances {
			if int(ci.Info.Id) == id {
				return ci, driver.SUCCESS
			}
		}
		return nil, driver.ERROR_NOT_FOUND
	}
}

func byID(d *server.Device) []*server.GpuInstance {
	return slices.SortedFunc(maps.Keys(d.GpuInstances), func(a, b *server.GpuInstance) int { return cmp.Compare(a.Info.Id, b.Info.Id) })
}

func instanceByID(d *server.Device, id int) (driver.GpuInstance, driver.Return) {
	for _, gi := range byID(d) {
		if int(gi.Info.Id) == id {
			return gi, driver.SUCCESS
		}
	}
	return nil, driver.ERROR_NOT_FOUND
}

// migDevice is the MIG device of the i-th GPU instance that has a compute
// instance; index 3 is a gap, as
// drivers leave them.
func migDevice(d *server.Device, i int) (driver.Device, driver.Return) {
	if i == 3 {
		return nil, driver.ERROR_NOT_FOUND
	}
	if i > 3 {
		i--
	}
	all := slices.DeleteFunc(byID(d), func(gi *server.GpuInstance) bool { return len(gi.ComputeInstances) == 0 })
	if i >= len(all) {
		return nil, driver.ERROR_NOT_FOUND
	}
	gi := all[i]
	info := d.Config.MIGProfiles.GpuInstanceProfiles[int(gi.Info.ProfileId)]
	m := &mock.Device{
		GetUUIDFunc: func() (string, driver.Return) {
			return fmt.Sprintf("MIG-%08d-0000-0000-0000-%012d", d.Index, gi.Info.Id), driver.SUCCESS
		},
		GetNameFunc: func() (string, driver.Return) {
			return d.Config.Name + " MIG " + profileNames()[gi.Info.ProfileId], driver.SUCCESS
		},
		GetAttributesFunc: func() (driver.DeviceAttributes, driver.Return) {
			return driver.DeviceAttributes{
				GpuInstanceSliceCount: info.SliceCount, ComputeInstanceSliceCount: computeSlices(gi), MemorySizeMB: info.MemorySizeMB,
			}, driver.SUCCESS
		},
		GetGpuInstanceIdFunc:     func() (int, driver.Return) { return int(gi.Info.Id), driver.SUCCESS },
		GetComputeInstanceIdFunc: func() (int, driver.Return) { return 0, driver.SUCCESS },
		GetMemoryInfoFunc:        func() (driver.Memory, driver.Return) { return driver.Memory{Used: 1 << 20}, driver.SUCCESS },
		GetUtilizationRatesFunc:  func() (driver.Utilization, driver.Return) { return driver.Utilization{}, driver.ERROR_NOT_SUPPORTED },
	}
	readable(m)
	return m, driver.SUCCESS
}

func computeSlices(gi *server.GpuInstance) uint32 {
	slicesOf := uint32(0)
	for ci := range gi.ComputeInstances {
		slicesOf += gi.MIGProfiles.ComputeInstanceProfiles[int(gi.Info.ProfileId)][int(ci.Info.ProfileId)].SliceCount
	}
	return slicesOf
}

// profileNames are those of an A100 with 40 GB, by profile.
func profileNames() map[uint32]string {
	return map[uint32]string{
		driver.GPU_INSTANCE_PROFILE_1_SLICE: "1g.5gb", driver.GPU_INSTANCE_PROFILE_1_SLICE_REV1: "1g.5gb+me",
		driver.GPU_INSTANCE_PROFILE_1_SLICE_REV2: "1g.10gb", driver.GPU_INSTANCE_PROFILE_2_SLICE: "2g.10gb",
		driver.GPU_INSTANCE_PROFILE_3_SLICE: "3g.20gb", driver.GPU_INSTANCE_PROFILE_4_SLICE: "4g.20gb", driver.GPU_INSTANCE_PROFILE_7_SLICE: "7g.40gb",
	}
}

// proc is the part of /proc that the driver numbers its nodes in.
func proc() fstest.MapFS {
	files := fstest.MapFS{"devices": {Data: []byte("Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n234 nvidia-nvlink\n508 nvidia-uvm\n510 nvidia-caps\n\nBlock devices:\n  7 nvidia-uvm\n")}}
	for card := range 8 {
		for gi := range 100 {
			folder := fmt.Sprintf("driver/nvidia/capabilities/gpu%d/mig/gi%d/", card, gi)
			number := (card*100 + gi) * 2
			files[folder+"access"] = access(number)
			files[folder+"ci0/access"] = access(number + 1)
		}
	}
	return files
}

func access(minor int) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, "DeviceFileMinor: %d\nDeviceFileMode: 292\nDeviceFileModify: 1\n", minor)}
}
