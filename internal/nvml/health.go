package nvml

import (
	"context"
	"encoding/binary"
	"math"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
)

// health asks a card for its state. What a card doesn't tell counts as well.
func health(dev driver.Device) gpu.Health {
	var h gpu.Health
	if n, ret := dev.GetTotalEccErrors(driver.MEMORY_ERROR_TYPE_UNCORRECTED, driver.VOLATILE_ECC); ret == driver.SUCCESS && n <= math.MaxInt64 {
		h.Uncorrectable = int64(n)
	}
	if _, _, pending, failed, ret := dev.GetRemappedRows(); ret == driver.SUCCESS {
		h.RemapPending, h.RemapFailed = pending, failed
	}
	if pending, ret := dev.GetRetiredPagesPendingStatus(); ret == driver.SUCCESS {
		h.RetirePending = pending == driver.FEATURE_ENABLED
	}
	h.Remedy = remedy(dev)
	return h
}

// remedy asks a card what it needs; drivers before 570 don't know.
func remedy(dev driver.Device) gpu.Remedy {
	field := []driver.FieldValue{{FieldId: driver.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	if ret := dev.GetFieldValues(field); ret != driver.SUCCESS || driver.Return(field[0].NvmlReturn) != driver.SUCCESS { //nolint:gosec // it came as a Return
		return gpu.RemedyUnknown
	}
	switch driver.DeviceGpuRecoveryAction(binary.NativeEndian.Uint32(field[0].Value[:])) { //nolint:gosec // a small number
	case driver.GPU_RECOVERY_ACTION_NONE:
		return gpu.RemedyNone
	case driver.GPU_RECOVERY_ACTION_NODE_REBOOT, driver.GPU_RECOVERY_ACTION_SYSTEM_REBOOT:
		return gpu.RemedyReboot
	default: // each of them begins with nothing running there
		return gpu.RemedyReset
	}
}

// eventWait is how long one call waits for an error, in milliseconds: so long
// may Watch outlast its context.
const eventWait = 1000

// everything is what an event's instance is when it isn't of one.
const everything = math.MaxUint32

// Watch tells of each error that the driver reports from now on, and returns
// when ctx ends, within a second. A card that reports none is passed over. An
// error means that the driver can't be listened to any more; listening may be
// tried again.
func (d *Driver) Watch(ctx context.Context, tell func(gpu.Fault)) error {
	set, ret := d.lib.EventSetCreate()
	if ret != driver.SUCCESS {
		return failed("listen for errors", ret)
	}
	defer set.Free() //nolint:errcheck // nothing is to be done about it
	listening, err := d.register(set)
	if err != nil {
		return err
	}
	if !listening {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		switch event, ret := set.Wait(eventWait); {
		case ret == driver.ERROR_TIMEOUT:
		case ret != driver.SUCCESS:
			return failed("listen for errors", ret)
		case event.EventType == driver.EventTypeXidCriticalError:
			d.report(event, tell)
		}
	}
	return nil
}

// register has the cards report their errors, those that can.
func (d *Driver) register(set driver.EventSet) (some bool, err error) {
	n, ret := d.lib.DeviceGetCount()
	if ret != driver.SUCCESS {
		return false, failed("count cards", ret)
	}
	for i := range n {
		dev, ret := d.lib.DeviceGetHandleByIndex(i)
		if ret == driver.SUCCESS && dev.RegisterEvents(driver.EventTypeXidCriticalError, set) == driver.SUCCESS {
			some = true
		}
	}
	return some, nil
}

// report tells of one event. One of a card that doesn't tell who it is any more
// is told by its index's last name.
func (d *Driver) report(event driver.EventData, tell func(gpu.Fault)) {
	f := gpu.Fault{XID: int(event.EventData)} //nolint:gosec // a small number
	var ret driver.Return
	if f.Card, ret = event.Device.GetUUID(); ret != driver.SUCCESS {
		index, ret := event.Device.GetIndex()
		if ret != driver.SUCCESS {
			return // the next look at the cards tells that one is lost
		}
		d.mu.Lock()
		f.Card = d.lastSeen(index).UUID
		d.mu.Unlock()
	}
	f.Device = f.Card
	if event.GpuInstanceId != everything {
		f.Device = instanceOf(event, f.Card)
	}
	tell(f)
}

// instanceOf returns the UUID of the instance that an event is of, or the
// card's where that can't be told.
func instanceOf(event driver.EventData, card string) string {
	for _, mig := range migDevices(event.Device) {
		gi, ret := mig.GetGpuInstanceId()
		if ret != driver.SUCCESS || gi != int(event.GpuInstanceId) {
			continue
		}
		if uuid, ret := mig.GetUUID(); ret == driver.SUCCESS {
			return uuid
		}
	}
	return card
}
