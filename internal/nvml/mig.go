package nvml

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Profiles returns the MIG profiles that a card offers, smallest first. It is
// empty for a card without MIG; some drivers tell it with MIG on only.
func (d *Driver) Profiles(_ context.Context, cardUUID string) ([]gpu.Profile, error) {
	dev, _, err := d.find(cardUUID)
	if err != nil {
		return nil, err
	}
	return d.profileList(dev)
}

// profileList returns the profiles of a card, smallest first.
func (d *Driver) profileList(dev driver.Device) ([]gpu.Profile, error) {
	byID, err := d.profiles(dev)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b gpu.Profile) int {
		return cmp.Or(cmp.Compare(a.Slices, b.Slices), cmp.Compare(a.MemoryBytes, b.MemoryBytes), cmp.Compare(a.Name, b.Name))
	}), nil
}

// SetMIGMode turns MIG on or off. resetNeeded tells that the mode changes with
// the next reset of the card only. A card in use is refused with ErrConflict
// and stays as it is.
func (d *Driver) SetMIGMode(_ context.Context, cardUUID string, on bool) (resetNeeded bool, err error) {
	dev, index, err := d.find(cardUUID)
	if err != nil {
		return false, err
	}
	what := fmt.Sprintf("MIG mode of card %d not changed", index)
	now, _, ret := dev.GetMigMode()
	if ret != driver.SUCCESS {
		return false, refuse(problem.ErrInvalid, what, "the card has no MIG: "+ret.Error(), "")
	}
	mode := driver.DEVICE_MIG_DISABLE
	if on {
		mode = driver.DEVICE_MIG_ENABLE
	}
	if mode != now {
		if why := busy(dev); why != "" {
			return false, inUse(what, why)
		}
		clearLeftovers(dev)
	}
	activation, ret := dev.SetMigMode(mode)
	switch {
	case ret != driver.SUCCESS:
		return false, failed(what, ret)
	case activation == driver.ERROR_RESET_REQUIRED:
		return true, nil
	case activation != driver.SUCCESS:
		if _, ret := dev.SetMigMode(now); ret != driver.SUCCESS {
			what += ", but it will with the next reset"
		}
		return false, failed(what, activation)
	}
	return false, nil
}

// CreateInstance makes a MIG instance whose first memory slice is start, with
// one compute instance that fills it.
func (d *Driver) CreateInstance(ctx context.Context, cardUUID, profile string, start int) (gpu.Instance, error) {
	dev, index, err := d.find(cardUUID)
	if err != nil {
		return gpu.Instance{}, err
	}
	what := fmt.Sprintf("no %s created at %d of card %d", profile, start, index)
	mode, pending, ret := dev.GetMigMode()
	if ret != driver.SUCCESS || mode != driver.DEVICE_MIG_ENABLE || pending != mode {
		return gpu.Instance{}, refuse(problem.ErrConflict, what, "MIG is off, or its change waits for a reset of the card", "Turn MIG on first.")
	}
	info, at, err := d.place(dev, profile, start)
	if err != nil {
		return gpu.Instance{}, fmt.Errorf("%s: %w", what, err)
	}
	gi, ret := dev.CreateGpuInstanceWithPlacement(&info, &at)
	if ret != driver.SUCCESS && clearLeftovers(dev) > 0 {
		gi, ret = dev.CreateGpuInstanceWithPlacement(&info, &at)
	}
	if ret != driver.SUCCESS {
		return gpu.Instance{}, failed(what, ret)
	}
	made, ret := gi.GetInfo()
	if ret == driver.SUCCESS {
		ret = fillWithCompute(gi, info.SliceCount)
	}
	if ret != driver.SUCCESS {
		if left := gi.Destroy(); left != driver.SUCCESS {
			what += fmt.Sprintf(" and GPU instance %d is left over (nvidia-smi mig -dgi)", made.Id)
		}
		return gpu.Instance{}, failed(what, ret)
	}
	return d.created(ctx, index, int(at.Start))
}

// created finds the instance that was just made on a card.
func (d *Driver) created(ctx context.Context, card, start int) (gpu.Instance, error) {
	cards, err := d.Cards(ctx)
	if err != nil {
		return gpu.Instance{}, err
	}
	for _, in := range cards[card].Instances {
		if in.Start == start {
			return in, nil
		}
	}
	return gpu.Instance{}, fmt.Errorf("card %d doesn't list the instance created at %d: %w", card, start, problem.ErrUnavailable)
}

// place finds a profile by name and its place in the card's table.
func (d *Driver) place(dev driver.Device, profile string, start int) (driver.GpuInstanceProfileInfo, driver.GpuInstancePlacement, error) {
	byID, err := d.profiles(dev)
	if err != nil {
		return driver.GpuInstanceProfileInfo{}, driver.GpuInstancePlacement{}, err
	}
	var names []string
	for id, p := range byID {
		names = append(names, p.String())
		if p.Name != profile {
			continue
		}
		info, ret := dev.GetGpuInstanceProfileInfo(id)
		if ret != driver.SUCCESS {
			return info, driver.GpuInstancePlacement{}, failed("read profile", ret)
		}
		for _, at := range p.Placements {
			if at.Start == start {
				return info, driver.GpuInstancePlacement{Start: uint32(at.Start), Size: uint32(at.Size)}, nil //nolint:gosec // they came as uint32
			}
		}
	}
	slices.Sort(names)
	return driver.GpuInstanceProfileInfo{}, driver.GpuInstancePlacement{},
		problem.Because(problem.ErrInvalid, "the card offers "+strings.Join(names, "; "))
}

// fillWithCompute makes the compute instance that takes all of gi.
func fillWithCompute(gi driver.GpuInstance, sliceCount uint32) driver.Return {
	for id := range driver.COMPUTE_INSTANCE_PROFILE_COUNT {
		info, ret := gi.GetComputeInstanceProfileInfo(id, driver.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
		if ret == driver.SUCCESS && info.SliceCount == sliceCount {
			_, ret = gi.CreateComputeInstance(&info)
			return ret
		}
	}
	return driver.ERROR_NOT_SUPPORTED
}

// DestroyInstance removes an instance with its compute instance. Processes on
// it are ErrConflict.
func (d *Driver) DestroyInstance(ctx context.Context, uuid string) error {
	cards, err := d.Cards(ctx)
	if err != nil {
		return err
	}
	for _, c := range cards {
		if c.UUID == uuid {
			return refuse(problem.ErrInvalid, "card "+uuid+" not destroyed", "it is a card, not a MIG instance", "")
		}
		for _, in := range c.Instances {
			if in.UUID == uuid {
				return d.destroy(c.UUID, uuid)
			}
		}
	}
	return unknown(uuid)
}

func (d *Driver) destroy(cardUUID, uuid string) error {
	dev, _, err := d.find(cardUUID)
	if err != nil {
		return err
	}
	what := "instance " + uuid + " not destroyed"
	for _, mig := range migDevices(dev) {
		if id, ret := mig.GetUUID(); ret != driver.SUCCESS || id != uuid {
			continue
		}
		if users, _ := processes(mig); len(users) > 0 {
			return inUse(what, fmt.Sprintf("%d processes use it", len(users)))
		}
		_, ids, err := instance(dev, mig)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return destroyBoth(dev, ids, what)
	}
	return unknown(uuid)
}

func destroyBoth(dev driver.Device, ids instanceIDs, what string) error {
	gi, ret := dev.GetGpuInstanceById(ids.gpu)
	if ret != driver.SUCCESS {
		return failed(what, ret)
	}
	ci, ret := gi.GetComputeInstanceById(ids.compute)
	if ret != driver.SUCCESS {
		return failed(what, ret)
	}
	if ret := ci.Destroy(); ret != driver.SUCCESS {
		return failed(what, ret)
	}
	if ret := gi.Destroy(); ret != driver.SUCCESS {
		return failed(fmt.Sprintf("%s: GPU instance %d is left over (nvidia-smi mig -dgi)", what, ids.gpu), ret)
	}
	return nil
}
