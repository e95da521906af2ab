package nvml

import (
	"context"
	"fmt"
	"math/bits"
	"strings"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

const mib = 1 << 20

// Cards returns all cards, by index. A card that doesn't answer is listed as
// it was when it last did, with a Problem.
func (d *Driver) Cards(ctx context.Context) ([]gpu.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list cards: %w", err)
	}
	n, ret := d.lib.DeviceGetCount()
	if ret != driver.SUCCESS {
		return nil, failed("count cards", ret)
	}
	nums := d.readMajors()
	d.mu.Lock()
	defer d.mu.Unlock()
	cards := make([]gpu.Card, n)
	for i := range n {
		c, err := d.card(i, nums)
		if err != nil {
			c = d.lastSeen(i)
			c.Problem, c.Mend = gpu.Lost(i, err.Error())
		} else {
			d.seen[i] = c
		}
		cards[i] = c
	}
	d.connect(cards)
	return cards, nil
}

// connect tells each healthy card its peers. A driver that doesn't tell leaves
// them without.
func (d *Driver) connect(cards []gpu.Card) {
	handles := make([]driver.Device, len(cards))
	for i := range cards {
		cards[i].Peers = nil
		if dev, ret := d.lib.DeviceGetHandleByIndex(i); ret == driver.SUCCESS && cards[i].Problem == "" {
			handles[i] = dev
		}
	}
	for i, dev := range handles {
		for j, other := range handles[:i] {
			if dev == nil || other == nil {
				continue
			}
			if status, ret := dev.GetP2PStatus(other, driver.P2P_CAPS_INDEX_NVLINK); ret == driver.SUCCESS && status == driver.P2P_STATUS_OK {
				cards[i].Peers = append(cards[i].Peers, cards[j].UUID)
				cards[j].Peers = append(cards[j].Peers, cards[i].UUID)
			}
		}
	}
}

// lastSeen returns the card as it last answered. The caller holds the lock.
func (d *Driver) lastSeen(index int) gpu.Card {
	if c, ok := d.seen[index]; ok {
		return c
	}
	return gpu.Card{UUID: fmt.Sprintf("GPU-unknown-%d", index), Index: index, Model: "unknown"}
}

func (d *Driver) card(index int, nums majors) (gpu.Card, error) {
	c := gpu.Card{Index: index}
	dev, ret := d.lib.DeviceGetHandleByIndex(index)
	if ret != driver.SUCCESS {
		return c, failed("open card", ret)
	}
	if c.UUID, ret = dev.GetUUID(); ret != driver.SUCCESS {
		return c, failed("read UUID", ret)
	}
	if c.Model, ret = dev.GetName(); ret != driver.SUCCESS {
		return c, failed("read model", ret)
	}
	memory, ret := dev.GetMemoryInfo()
	if ret != driver.SUCCESS {
		return c, failed("read memory", ret)
	}
	c.MemoryBytes = int64(memory.Total) //nolint:gosec // no card has 2^63 bytes
	minor, ret := dev.GetMinorNumber()
	if ret != driver.SUCCESS {
		return c, failed("read device number", ret)
	}
	c.Nodes, c.Problem = nums.card(minor)
	c.Health = health(dev)
	if why, mend := c.Health.Judge(index); why != "" {
		c.Problem, c.Mend = why, mend
	}
	c.NUMANode = numaNode(dev)
	mode, pending, ret := dev.GetMigMode()
	switch ret {
	case driver.SUCCESS:
	case driver.ERROR_NOT_SUPPORTED:
		return c, nil
	default:
		return c, failed("read MIG mode", ret)
	}
	c.MIG, c.MIGWaits, c.MIGResets = mode == driver.DEVICE_MIG_ENABLE, pending != mode, modeResets(dev)
	var err error
	if c.Profiles, err = d.profileList(dev); err != nil && c.MIG {
		return c, err
	}
	if c.MIG {
		c.Instances, err = d.instances(dev, minor, c.Nodes, nums)
		return c, err
	}
	return c, nil // with MIG off, a driver needn't tell the profiles
}

// numaNode returns the node of the processors next to a card, -1 when the
// driver doesn't tell.
func numaNode(dev driver.Device) int {
	const nodes = 64
	if set, ret := dev.GetMemoryAffinity(nodes, driver.AFFINITY_SCOPE_NODE); ret == driver.SUCCESS && len(set) > 0 && set[0] != 0 {
		return bits.TrailingZeros(set[0])
	}
	return -1
}

// modeResets reports whether a change of the MIG mode waits for a reset: until
// Hopper it does (NVIDIA's MIG user guide). A card that doesn't tell what it is
// counts as one of those.
func modeResets(dev driver.Device) bool {
	generation, ret := dev.GetArchitecture()
	return ret != driver.SUCCESS || generation < driver.DEVICE_ARCH_HOPPER
}

// instances returns the MIG devices of a card, by index. cardNodes are needed
// besides an instance's own.
func (d *Driver) instances(dev driver.Device, minor int, cardNodes []gpu.Node, nums majors) ([]gpu.Instance, error) {
	ofCard := 0
	infos, err := profileInfos(dev)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		ofCard = max(ofCard, int(info.SliceCount))
	}
	var all []gpu.Instance
	for i, mig := range migDevices(dev) {
		in, ids, err := instance(dev, mig)
		if err != nil {
			return nil, fmt.Errorf("MIG device %d: %w", i, err)
		}
		in.Index, in.SlicesOfCard = i, ofCard
		caps, problem := nums.capabilities(d.proc, minor, ids.gpu, ids.compute)
		in.Nodes = append(append(in.Nodes, cardNodes...), caps...)
		if in.Problem == "" {
			in.Problem = problem
		}
		all = append(all, in)
	}
	return all, nil
}

// migDevices yields the MIG devices of a card with their index. It stops when
// the card doesn't answer; the next call on the card tells.
func migDevices(dev driver.Device) func(yield func(int, driver.Device) bool) {
	return func(yield func(int, driver.Device) bool) {
		n, ret := dev.GetMaxMigDeviceCount()
		if ret != driver.SUCCESS {
			return
		}
		for i := range n {
			mig, ret := dev.GetMigDeviceHandleByIndex(i)
			if ret == driver.SUCCESS && !yield(i, mig) {
				return
			}
		}
	}
}

// instanceIDs are the driver's numbers of a GPU instance on its card and of a
// compute instance in it.
type instanceIDs struct {
	gpu, compute int
}

func instance(dev, mig driver.Device) (in gpu.Instance, ids instanceIDs, err error) {
	var ret driver.Return
	if in.UUID, ret = mig.GetUUID(); ret != driver.SUCCESS {
		return in, ids, failed("read UUID", ret)
	}
	name, ret := mig.GetName()
	if ret != driver.SUCCESS {
		return in, ids, failed("read name", ret)
	}
	_, in.Profile, _ = strings.Cut(name, " MIG ") // "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
	attributes, ret := mig.GetAttributes()
	if ret != driver.SUCCESS {
		return in, ids, failed("read attributes", ret)
	}
	in.Slices = int(attributes.GpuInstanceSliceCount)
	in.MemoryBytes = int64(attributes.MemorySizeMB) * mib //nolint:gosec // no card has 2^63 bytes
	if attributes.ComputeInstanceSliceCount < attributes.GpuInstanceSliceCount {
		in.Problem = "the compute instance doesn't fill its GPU instance: others could share its memory"
	}
	if ids.gpu, ret = mig.GetGpuInstanceId(); ret != driver.SUCCESS {
		return in, ids, failed("read GPU instance id", ret)
	}
	if ids.compute, ret = mig.GetComputeInstanceId(); ret != driver.SUCCESS {
		return in, ids, failed("read compute instance id", ret)
	}
	gi, ret := dev.GetGpuInstanceById(ids.gpu)
	if ret != driver.SUCCESS {
		return in, ids, failed("open GPU instance", ret)
	}
	info, ret := gi.GetInfo()
	if ret != driver.SUCCESS {
		return in, ids, failed("read GPU instance", ret)
	}
	in.Start, in.Size = int(info.Placement.Start), int(info.Placement.Size)
	return in, ids, nil
}

// find returns a card's handle and index.
func (d *Driver) find(cardUUID string) (driver.Device, int, error) {
	n, ret := d.lib.DeviceGetCount()
	if ret != driver.SUCCESS {
		return nil, 0, failed("count cards", ret)
	}
	for i := range n {
		dev, ret := d.lib.DeviceGetHandleByIndex(i)
		if ret != driver.SUCCESS {
			if d.wasAt(i, cardUUID) {
				return nil, i, failed("open card", ret)
			}
			continue
		}
		if uuid, ret := dev.GetUUID(); ret == driver.SUCCESS && uuid == cardUUID {
			if _, ret := dev.GetMemoryInfo(); ret == driver.ERROR_GPU_IS_LOST {
				return nil, i, failed("open card", ret)
			}
			return dev, i, nil
		}
	}
	return nil, 0, unknown(cardUUID)
}

// wasAt reports whether a card was at index when that last answered.
func (d *Driver) wasAt(index int, cardUUID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastSeen(index).UUID == cardUUID
}

// busy says what uses the card, or "".
func busy(dev driver.Device) string {
	instances := 0
	for range migDevices(dev) {
		instances++
	}
	users, _ := processes(dev)
	switch {
	case instances > 0:
		return fmt.Sprintf("the card has %d MIG instances", instances)
	case len(users) > 0:
		return fmt.Sprintf("%d processes use the card", len(users))
	}
	return ""
}

func inUse(what, why string) error {
	return refuse(problem.ErrConflict, what, why, "Stop what uses it, then try again.")
}
