package nvml

import (
	driver "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// clearLeftovers destroys the card's GPU instances that have no compute
// instance, and returns how many that were. Making or destroying a MIG instance
// takes two calls, and who is killed between them leaves such a one behind: no
// process can use it, it is no MIG device, and it keeps its place.
func clearLeftovers(dev driver.Device) (cleared int) {
	infos, err := profileInfos(dev)
	if err != nil {
		return 0
	}
	for _, info := range infos {
		all, ret := dev.GetGpuInstances(&info)
		if ret != driver.SUCCESS {
			continue
		}
		for _, gi := range all {
			if isHollow(gi) && gi.Destroy() == driver.SUCCESS {
				cleared++
			}
		}
	}
	return cleared
}

// isHollow reports whether a GPU instance certainly has no compute instance.
func isHollow(gi driver.GpuInstance) bool {
	for id := range driver.COMPUTE_INSTANCE_PROFILE_COUNT {
		info, ret := gi.GetComputeInstanceProfileInfo(id, driver.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
		switch ret {
		case driver.SUCCESS:
		case driver.ERROR_NOT_SUPPORTED, driver.ERROR_INVALID_ARGUMENT: // not in this one
			continue
		default:
			return false
		}
		if all, ret := gi.GetComputeInstances(&info); ret != driver.SUCCESS || len(all) > 0 {
			return false
		}
	}
	return true
}
