package nvml_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func TestAnIllCardIsNotGranted(t *testing.T) {
	recovery := func(action driver.DeviceGpuRecoveryAction, ret driver.Return) func(*server.Device) {
		return func(d *server.Device) {
			d.GetFieldValuesFunc = func(values []driver.FieldValue) driver.Return {
				if values[0].FieldId != driver.FI_DEV_GET_GPU_RECOVERY_ACTION {
					return driver.ERROR_INVALID_ARGUMENT
				}
				values[0].NvmlReturn = uint32(ret)
				binary.NativeEndian.PutUint32(values[0].Value[:], uint32(action))
				return driver.SUCCESS
			}
		}
	}
	tests := map[string]struct {
		ail func(*server.Device)
		why string // "": granted
	}{
		"well": {func(*server.Device) {}, ""},
		"errors of memory": {func(d *server.Device) {
			d.GetTotalEccErrorsFunc = func(kind driver.MemoryErrorType, since driver.EccCounterType) (uint64, driver.Return) {
				if kind != driver.MEMORY_ERROR_TYPE_UNCORRECTED || since != driver.VOLATILE_ECC {
					return 0, driver.SUCCESS
				}
				return 2, driver.SUCCESS
			}
		}, "had 2 errors"},
		"many errors, all corrected": {func(d *server.Device) {
			d.GetRemappedRowsFunc = func() (int, int, bool, bool, driver.Return) { return 9, 1, false, false, driver.SUCCESS }
		}, ""},
		"rows to be replaced": {func(d *server.Device) {
			d.GetRemappedRowsFunc = func() (int, int, bool, bool, driver.Return) { return 0, 1, true, false, driver.SUCCESS }
		}, "rows of its memory wait"},
		"no more rows": {func(d *server.Device) {
			d.GetRemappedRowsFunc = func() (int, int, bool, bool, driver.Return) { return 0, 8, false, true, driver.SUCCESS }
		}, "can't be replaced any more"},
		"pages to be retired": {func(d *server.Device) {
			d.GetRetiredPagesPendingStatusFunc = func() (driver.EnableState, driver.Return) { return driver.FEATURE_ENABLED, driver.SUCCESS }
		}, "pages of its memory wait"},
		"a reset is needed":                 {recovery(driver.GPU_RECOVERY_ACTION_DRAIN_AND_RESET, driver.SUCCESS), "it needs a reset"},
		"a reboot is needed":                {recovery(driver.GPU_RECOVERY_ACTION_NODE_REBOOT, driver.SUCCESS), "a reboot of the host"},
		"nothing is needed":                 {recovery(driver.GPU_RECOVERY_ACTION_NONE, driver.SUCCESS), ""},
		"the card can't say what is needed": {recovery(driver.GPU_RECOVERY_ACTION_GPU_RESET, driver.ERROR_NOT_SUPPORTED), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := dgx()
			tt.ail(mockCard(s, 2))
			for _, c := range cards(t, start(t, s, proc())) {
				ill := c.Index == 2 && tt.why != ""
				if ill != (c.Problem != "") || ill != (c.Mend != "") || ill && !strings.Contains(c.Problem, tt.why) {
					t.Errorf("card %d: %q, %q", c.Index, c.Problem, c.Mend)
				}
			}
		})
	}
}

// happens has the driver tell of events, then be silent.
func happens(s *server.Server, events ...driver.EventData) {
	s.EventSetCreateFunc = func() (driver.EventSet, driver.Return) {
		set := quiet()
		silent := set.WaitFunc
		set.WaitFunc = func(timeout uint32) (driver.EventData, driver.Return) {
			if len(events) == 0 {
				return silent(timeout)
			}
			e := events[0]
			events = events[1:]
			return e, driver.SUCCESS
		}
		return set, driver.SUCCESS
	}
}

func TestErrorsAreToldOfTheInstanceTheyAreOf(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	migOn(t, d, 1, "3g.20gb", 4)
	migOn(t, d, 1, "1g.5gb", 0)
	all := cards(t, d)
	gone := &mock.Device{
		GetUUIDFunc:  func() (string, driver.Return) { return "", driver.ERROR_GPU_IS_LOST },
		GetIndexFunc: func() (int, driver.Return) { return 3, driver.SUCCESS },
	}
	xid := func(dev driver.Device, number uint64, gi uint32) driver.EventData {
		return driver.EventData{Device: dev, EventType: driver.EventTypeXidCriticalError, EventData: number, GpuInstanceId: gi, ComputeInstanceId: gi}
	}
	happens(s, xid(s.Devices[0], 79, math.MaxUint32), xid(s.Devices[1], 48, 1), xid(s.Devices[1], 48, 77),
		driver.EventData{Device: s.Devices[0], EventType: driver.EventTypePState}, xid(gone, 79, math.MaxUint32))
	ctx, cancel := context.WithCancel(t.Context())
	var heard []gpu.Fault
	err := d.Watch(ctx, func(f gpu.Fault) {
		if heard = append(heard, f); len(heard) == 4 {
			cancel()
		}
	})
	want := []gpu.Fault{
		{Card: all[0].UUID, Device: all[0].UUID, XID: 79},
		{Card: all[1].UUID, Device: all[1].Instances[1].UUID, XID: 48},
		{Card: all[1].UUID, Device: all[1].UUID, XID: 48}, // of an instance that is gone
		{Card: all[3].UUID, Device: all[3].UUID, XID: 79},
	}
	if diff := cmp.Diff(want, heard); diff != "" || err != nil {
		t.Errorf("heard (-want +got): %v\n%s", err, diff)
	}
}

func TestADriverThatCannotBeListenedTo(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	s.EventSetCreateFunc = func() (driver.EventSet, driver.Return) {
		set := quiet()
		set.WaitFunc = func(uint32) (driver.EventData, driver.Return) { return driver.EventData{}, driver.ERROR_GPU_IS_LOST }
		return set, driver.SUCCESS
	}
	if err := d.Watch(t.Context(), func(gpu.Fault) {}); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	for _, dev := range s.Devices {
		dev.(*server.Device).RegisterEventsFunc = func(uint64, driver.EventSet) driver.Return { return driver.ERROR_NOT_SUPPORTED }
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Watch(ctx, func(gpu.Fault) {}); err != nil {
		t.Errorf("no card reports errors: %v", err)
	}
}
