package nvml

import (
	"strings"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
)

// profileInfos returns the driver's table of a card by profile number.
func profileInfos(dev driver.Device) (map[int]driver.GpuInstanceProfileInfo, error) {
	infos := make(map[int]driver.GpuInstanceProfileInfo)
	for id := range driver.GPU_INSTANCE_PROFILE_COUNT {
		info, ret := dev.GetGpuInstanceProfileInfo(id)
		switch ret {
		case driver.SUCCESS:
			infos[id] = info
		case driver.ERROR_NOT_SUPPORTED, driver.ERROR_INVALID_ARGUMENT: // not on this card, or newer than the driver
		default:
			return nil, failed("read MIG profiles", ret)
		}
	}
	return infos, nil
}

// profiles returns the profiles of a card that have a place, by number.
func (d *Driver) profiles(dev driver.Device) (map[int]gpu.Profile, error) {
	infos, err := profileInfos(dev)
	if err != nil {
		return nil, err
	}
	memory, ret := dev.GetMemoryInfo()
	if ret != driver.SUCCESS {
		return nil, failed("read memory", ret)
	}
	all := make(map[int]gpu.Profile)
	for id, info := range infos {
		places, ret := dev.GetGpuInstancePossiblePlacements(&info)
		if ret != driver.SUCCESS || len(places) == 0 {
			continue // not to be had in the card's present mode
		}
		p := gpu.Profile{
			Slices: int(info.SliceCount), MemoryBytes: int64(info.MemorySizeMB) * mib, Max: int(info.InstanceCount), //nolint:gosec // no card has 2^63 bytes
		}
		p.Name = d.profileName(dev, id, p, int64(memory.Total)) //nolint:gosec // as above
		for _, at := range places {
			p.Placements = append(p.Placements, gpu.Placement{Start: int(at.Start), Size: int(at.Size)})
		}
		all[id] = p
	}
	return all, nil
}

// profileName asks the driver, and works the name out where the driver is too
// old to tell it.
func (d *Driver) profileName(dev driver.Device, id int, p gpu.Profile, cardMemory int64) string {
	if d.lib.Extensions().LookupSymbol("nvmlDeviceGetGpuInstanceProfileInfoV") == nil {
		if info, ret := dev.GetGpuInstanceProfileInfoV(id).V2(); ret == driver.SUCCESS {
			return strings.TrimPrefix(text(info.Name[:]), "MIG ")
		}
	}
	media := id == driver.GPU_INSTANCE_PROFILE_1_SLICE_REV1 || id == driver.GPU_INSTANCE_PROFILE_2_SLICE_REV1
	return gpu.ProfileName(p.Slices, p.MemoryBytes, cardMemory, media)
}

// text returns a C string.
func text(chars []int8) string {
	var b strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c)) //nolint:gosec // a C char is a byte
	}
	return b.String()
}
