package nvml_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml"
	"ds01.dev/ds01/internal/nvml/nvmltest"
	"ds01.dev/ds01/internal/problem"
)

// On a machine with a driver the contract runs on it, without the part that
// changes MIG; on any other the error must say what to do.
func TestContractOnTheRealDriver(t *testing.T) {
	d, err := nvml.Open()
	if err != nil && os.Getenv("DS01_TEST_GPU") != "" {
		t.Fatalf("DS01_TEST_GPU wants a card: %v", err)
	}
	if err != nil {
		text := problem.OneLine(err)
		if !errors.Is(err, problem.ErrUnavailable) || problem.ExitCode(err) != 7 || !strings.Contains(text, "gpu.provider: sim") {
			t.Errorf("got %q", text)
		}
		return
	}
	describe(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	nvmltest.Suite(t, func(t *testing.T) nvmltest.Driver {
		d, err := nvml.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		return d
	})
}

// describe tells what the cards are like, and how long the driver takes.
func describe(t *testing.T, d *nvml.Driver) {
	t.Helper()
	began := time.Now()
	all := cards(t, d)
	looked := time.Since(began)
	began = time.Now()
	if _, err := d.Readings(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d cards read in %s, what they do in %s", len(all), looked, time.Since(began))
	for _, c := range all {
		t.Logf("card %d, %s: MIG %v, waits %v, resets %v; %d profiles, %d instances; NUMA node %d, %d peers; %+v; problem %q",
			c.Index, c.Model, c.MIG, c.MIGWaits, c.MIGResets, len(c.Profiles), len(c.Instances), c.NUMANode, len(c.Peers), c.Health, c.Problem)
		for _, p := range c.Profiles {
			t.Logf("card %d: %s", c.Index, p)
		}
	}
}

func start(t *testing.T, s *server.Server, files fstest.MapFS) *nvml.Driver {
	t.Helper()
	d, err := nvml.New(s, files)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func cards(t *testing.T, d *nvml.Driver) []gpu.Card {
	t.Helper()
	all, err := d.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func mockCard(s *server.Server, card int) *server.Device { return s.Devices[card].(*server.Device) }

func TestContractOnTheMockHost(t *testing.T) {
	nvmltest.Suite(t, func(t *testing.T) nvmltest.Driver {
		d := start(t, dgx(), proc())
		migOn(t, d, 1, "3g.20gb", 4)
		migOn(t, d, 1, "1g.5gb", 0)
		migOn(t, d, 1, "1g.5gb", 1)
		migOn(t, d, 1, "1g.5gb", 2)
		return d
	})
	nvmltest.SuiteMIG(t, func(t *testing.T) nvmltest.Driver { return start(t, dgx(), proc()) })
}

func migOn(t *testing.T, d *nvml.Driver, card int, profile string, at int) {
	t.Helper()
	uuid := cards(t, d)[card].UUID
	if _, err := d.SetMIGMode(t.Context(), uuid, true); err != nil && !errors.Is(err, problem.ErrConflict) {
		t.Fatal(err)
	}
	if _, err := d.CreateInstance(t.Context(), uuid, profile, at); err != nil {
		t.Fatal(err)
	}
}

func TestNodesOfACardAndOfAnInstance(t *testing.T) {
	d := start(t, dgx(), proc())
	migOn(t, d, 1, "3g.20gb", 4)
	all := gpu.Devices(cards(t, d))
	common := []gpu.Node{{Name: "nvidiactl", Major: 195, Minor: 255}, {Name: "nvidia-uvm", Major: 508}, {Name: "nvidia-uvm-tools", Major: 508, Minor: 1}}
	want := append([]gpu.Node{{Name: "nvidia0", Major: 195, Minor: 0}}, common...)
	if diff := cmp.Diff(want, all[0].Nodes); diff != "" {
		t.Error(diff)
	}
	want = append([]gpu.Node{{Name: "nvidia1", Major: 195, Minor: 1}}, common...)
	want = append(want, gpu.Node{Name: "nvidia-caps/nvidia-cap200", Major: 510, Minor: 200}, gpu.Node{Name: "nvidia-caps/nvidia-cap201", Major: 510, Minor: 201})
	if diff := cmp.Diff(want, all[1].Nodes); diff != "" {
		t.Error(diff)
	}
	if all[1].Profile != "3g.20gb" || all[1].Share.String() != "3/7" || all[1].Slot != "1.0" {
		t.Errorf("got %+v", all[1])
	}
}

func TestADeviceWithoutItsNodesIsNotGranted(t *testing.T) {
	tests := map[string]struct {
		devices string
		drop    string
		card    string // problem of a whole card
		mig     string // problem of an instance
	}{
		"no module for memory":     {"195 nvidia\n510 nvidia-caps\n", "", "nvidia-uvm isn't loaded", "nvidia-uvm isn't loaded"},
		"no capabilities":          {"195 nvidia\n508 nvidia-uvm\n", "", "", "no device nvidia-caps"},
		"no node for the instance": {"508 nvidia-uvm\n510 nvidia-caps\n", "driver/nvidia/capabilities/gpu1/mig/gi0/ci0/access", "", "nvidia-caps node isn't known"},
		"no table at all":          {"", "devices", "nvidia-uvm isn't loaded", "nvidia-uvm isn't loaded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files := proc()
			files["devices"] = &fstest.MapFile{Data: []byte("Character devices:\n" + tt.devices)}
			d := start(t, dgx(), files)
			migOn(t, d, 1, "1g.5gb", 6)
			delete(files, tt.drop)
			for _, dev := range gpu.Devices(cards(t, d))[:2] {
				want := tt.card
				if dev.Card == 1 {
					want = tt.mig
				}
				if (want == "") != (dev.Problem == "") || !strings.Contains(dev.Problem, want) {
					t.Errorf("device %s: problem %q, want %q", dev.Slot, dev.Problem, want)
				}
			}
		})
	}
}

func TestALostCardKeepsItsNameAndHasAProblem(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	migOn(t, d, 1, "1g.5gb", 6)
	before := cards(t, d)
	handle := s.DeviceGetHandleByIndexFunc
	s.DeviceGetHandleByIndexFunc = func(i int) (driver.Device, driver.Return) {
		if i == 1 {
			return nil, driver.ERROR_GPU_IS_LOST
		}
		return handle(i)
	}
	mockCard(s, 2).GetMemoryInfoFunc = func() (driver.Memory, driver.Return) { return driver.Memory{}, driver.ERROR_GPU_IS_LOST }
	after := cards(t, d)
	for i, c := range after {
		if c.UUID != before[i].UUID || len(c.Instances) != len(before[i].Instances) || (c.Problem != "") != (i == 1 || i == 2) {
			t.Errorf("card %d: %+v", i, c)
		}
	}
	readings, err := d.Readings(t.Context())
	if err != nil || len(readings) != 6 {
		t.Errorf("%d readings, %v", len(readings), err)
	}
	for _, i := range []int{1, 2} {
		if _, err := d.SetMIGMode(t.Context(), before[i].UUID, true); !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("MIG mode of lost card %d: %v", i, err)
		}
	}
	if c := cards(t, start(t, s, proc()))[1]; c.UUID == "" || c.Problem == "" {
		t.Errorf("lost from the start: %+v", c)
	}
}

// What a driver tells of a card besides its instances decides where devices
// are placed; one that tells nothing must not stop the card from being granted.
func TestWhatADriverTellsOfACard(t *testing.T) {
	s := dgx()
	all := cards(t, start(t, s, proc()))
	if c := all[5]; c.NUMANode != 1 || len(c.Peers) != 7 || !c.MIGResets || c.MIGWaits || len(c.Profiles) != 7 {
		t.Errorf("got %+v", c)
	}
	hopper := mockCard(s, 1)
	hopper.GetArchitectureFunc = func() (driver.DeviceArchitecture, driver.Return) { return driver.DEVICE_ARCH_HOPPER, driver.SUCCESS }
	waits := mockCard(s, 2)
	waits.GetMigModeFunc = func() (int, int, driver.Return) {
		return driver.DEVICE_MIG_DISABLE, driver.DEVICE_MIG_ENABLE, driver.SUCCESS
	}
	old := mockCard(s, 3)
	old.GetArchitectureFunc = func() (driver.DeviceArchitecture, driver.Return) { return 0, driver.ERROR_NOT_SUPPORTED }
	old.GetMemoryAffinityFunc = func(int, driver.AffinityScope) ([]uint, driver.Return) { return []uint{0}, driver.ERROR_NOT_SUPPORTED }
	old.GetGpuInstanceProfileInfoFunc = func(int) (driver.GpuInstanceProfileInfo, driver.Return) {
		return driver.GpuInstanceProfileInfo{}, driver.ERROR_UNKNOWN
	}
	for i := range s.Devices {
		mockCard(s, i).GetP2PStatusFunc = func(driver.Device, driver.GpuP2PCapsIndex) (driver.GpuP2PStatus, driver.Return) {
			return 0, driver.ERROR_NOT_SUPPORTED
		}
	}
	all = cards(t, start(t, s, proc()))
	if all[1].MIGResets || !all[2].MIGWaits || !all[3].MIGResets || all[3].NUMANode != -1 || len(all[3].Profiles) != 0 || all[3].Problem != "" || len(all[3].Peers) != 0 {
		t.Errorf("got %+v, %+v, %+v", all[1], all[2], all[3])
	}
}

func TestReadings(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	migOn(t, d, 1, "1g.5gb", 6)
	mockCard(s, 0).GetComputeRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) {
		return []driver.ProcessInfo{{Pid: 9, UsedGpuMemory: ^uint64(0)}, {Pid: 7, UsedGpuMemory: 5}}, driver.SUCCESS
	}
	mockCard(s, 0).GetGraphicsRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) {
		return []driver.ProcessInfo{{Pid: 7, UsedGpuMemory: 6}}, driver.SUCCESS
	}
	mockCard(s, 2).GetComputeRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) { return nil, driver.ERROR_NO_PERMISSION }
	mockCard(s, 3).GetGraphicsRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) { return nil, driver.ERROR_UNKNOWN }
	mockCard(s, 4).GetGraphicsRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) { return nil, driver.ERROR_NOT_SUPPORTED }
	all := cards(t, d)
	got, err := d.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, unlisted := range []bool{false, false, true, true, false} {
		if got[all[i].UUID].Unlisted != unlisted {
			t.Errorf("card %d: processes not told: %t", i, !unlisted)
		}
	}
	want := map[string]gpu.Reading{
		all[0].UUID:              {UtilizationPercent: 12, PowerWatts: 61.5, TemperatureC: 31, Processes: []gpu.Process{{PID: 7, MemoryBytes: 6}, {PID: 9, MemoryBytes: -1}}},
		all[1].UUID:              {UtilizationPercent: -1, PowerWatts: 61.5, TemperatureC: 31},
		all[1].Instances[0].UUID: {UtilizationPercent: -1, MemoryUsedBytes: 1 << 20, PowerWatts: -1, TemperatureC: -1},
	}
	for uuid, r := range want {
		if diff := cmp.Diff(r, got[uuid]); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatTheDriverAnswersToMIGOperations(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	ctx, uuid := t.Context(), cards(t, d)[0].UUID
	dev := mockCard(s, 0)
	set := dev.SetMigModeFunc

	dev.SetMigModeFunc = func(int) (driver.Return, driver.Return) { return driver.ERROR_RESET_REQUIRED, driver.SUCCESS }
	if reset, err := d.SetMIGMode(ctx, uuid, true); !reset || err != nil {
		t.Errorf("waits for a reset: %v, %v", reset, err)
	}
	var asked []int
	dev.SetMigModeFunc = func(mode int) (driver.Return, driver.Return) {
		asked = append(asked, mode)
		return driver.ERROR_IN_USE, driver.SUCCESS
	}
	if _, err := d.SetMIGMode(ctx, uuid, true); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("in use: %v", err)
	}
	if diff := cmp.Diff([]int{1, 0}, asked); diff != "" {
		t.Errorf("the pending mode isn't taken back: %s", diff)
	}
	dev.SetMigModeFunc = func(int) (driver.Return, driver.Return) { return driver.SUCCESS, driver.ERROR_NO_PERMISSION }
	if _, err := d.SetMIGMode(ctx, uuid, true); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("not root: %v", err)
	}
	dev.GetComputeRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) { return []driver.ProcessInfo{{Pid: 7}}, driver.SUCCESS }
	if _, err := d.SetMIGMode(ctx, uuid, true); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("with a process: %v", err)
	}
	readable(&dev.Device)
	dev.SetMigModeFunc = set
	migOn(t, d, 0, "2g.10gb", 4)
	for gi := range dev.GpuInstances {
		for ci := range gi.ComputeInstances {
			ci.DestroyFunc = func() driver.Return { return driver.ERROR_IN_USE }
		}
	}
	in := cards(t, d)[0].Instances[0].UUID
	if err := d.DestroyInstance(ctx, in); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("destroyed in use: %v", err)
	}
	for gi := range dev.GpuInstances {
		for ci := range gi.ComputeInstances {
			ci.Info.ProfileId = driver.COMPUTE_INSTANCE_PROFILE_1_SLICE
		}
	}
	if c := cards(t, d)[0]; c.Instances[0].Problem == "" {
		t.Errorf("an instance that its compute instance doesn't fill is granted: %+v", c.Instances[0])
	}
}

func TestAFailedCreateLeavesNothingBehind(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	uuid := cards(t, d)[0].UUID
	if _, err := d.SetMIGMode(t.Context(), uuid, true); err != nil {
		t.Fatal(err)
	}
	dev := mockCard(s, 0)
	create := dev.CreateGpuInstanceWithPlacementFunc
	dev.CreateGpuInstanceWithPlacementFunc = func(info *driver.GpuInstanceProfileInfo, at *driver.GpuInstancePlacement) (driver.GpuInstance, driver.Return) {
		gi, ret := create(info, at)
		gi.(*server.GpuInstance).CreateComputeInstanceFunc = func(*driver.ComputeInstanceProfileInfo) (driver.ComputeInstance, driver.Return) {
			return nil, driver.ERROR_INSUFFICIENT_RESOURCES
		}
		return gi, ret
	}
	if _, err := d.CreateInstance(t.Context(), uuid, "1g.5gb", 6); !errors.Is(err, problem.ErrConflict) || len(dev.GpuInstances) != 0 {
		t.Errorf("%v, left over: %d", err, len(dev.GpuInstances))
	}
}

func TestAnInstanceWithProcessesIsNotDestroyed(t *testing.T) {
	s := dgx()
	d := start(t, s, proc())
	migOn(t, d, 0, "1g.5gb", 6)
	dev := mockCard(s, 0)
	handle := dev.GetMigDeviceHandleByIndexFunc
	dev.GetMigDeviceHandleByIndexFunc = func(i int) (driver.Device, driver.Return) {
		m, ret := handle(i)
		if ret == driver.SUCCESS {
			m.(*mock.Device).GetGraphicsRunningProcessesFunc = func() ([]driver.ProcessInfo, driver.Return) { return []driver.ProcessInfo{{Pid: 7}}, driver.SUCCESS }
		}
		return m, ret
	}
	err := d.DestroyInstance(t.Context(), cards(t, d)[0].Instances[0].UUID)
	if !errors.Is(err, problem.ErrConflict) || len(dev.GpuInstances) != 1 {
		t.Errorf("%v, %d instances", err, len(dev.GpuInstances))
	}
}

func TestADriverThatDoesntStartSaysWhy(t *testing.T) {
	tests := map[driver.Return]string{
		driver.ERROR_LIBRARY_NOT_FOUND:       "no NVIDIA driver: libnvidia-ml.so.1 not found. Install the NVIDIA driver, or set 'gpu.provider: sim'",
		driver.ERROR_DRIVER_NOT_LOADED:       "the NVIDIA kernel module isn't loaded",
		driver.ERROR_LIB_RM_VERSION_MISMATCH: "Reboot to finish the driver upgrade",
		driver.ERROR_UNKNOWN:                 "the NVIDIA driver doesn't start",
	}
	for ret, want := range tests {
		t.Run(want, func(t *testing.T) {
			s := dgx()
			s.InitFunc = func() driver.Return { return ret }
			_, err := nvml.New(s, proc())
			if !errors.Is(err, problem.ErrUnavailable) || !strings.Contains(problem.OneLine(err), want) {
				t.Errorf("got %q", problem.OneLine(err))
			}
		})
	}
}

// Whatever /proc holds, a listed device is complete or has a problem.
func FuzzProc(f *testing.F) {
	f.Add("Character devices:\n508 nvidia-uvm\n510 nvidia-caps\n", "DeviceFileMinor: 21\n")
	f.Add("Character devices:\n99999999999 nvidia-uvm\n-1 nvidia-caps\n", "DeviceFileMinor: -1\n")
	f.Add("508", "DeviceFileMinor:")
	s := dgx()
	d, err := nvml.New(s, proc())
	if err != nil {
		f.Fatal(err)
	}
	all, err := d.Cards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if _, err := d.SetMIGMode(f.Context(), all[1].UUID, true); err != nil {
		f.Fatal(err)
	}
	if _, err := d.CreateInstance(f.Context(), all[1].UUID, "1g.5gb", 6); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, devices, capability string) {
		folder := "driver/nvidia/capabilities/gpu1/mig/gi0/"
		d := start(t, s, fstest.MapFS{
			"devices": {Data: []byte(devices)}, folder + "access": {Data: []byte(capability)}, folder + "ci0/access": {Data: []byte(capability)},
		})
		for _, dev := range gpu.Devices(cards(t, d)) {
			want := 4
			if dev.Instance >= 0 {
				want = 6
			}
			if dev.Problem == "" && len(dev.Nodes) != want {
				t.Errorf("device %s: %+v", dev.Slot, dev.Nodes)
			}
			for _, n := range dev.Nodes {
				if n.Major >= 1<<12 || n.Minor >= 1<<20 {
					t.Errorf("device %s: %+v", dev.Slot, n)
				}
			}
		}
	})
}
