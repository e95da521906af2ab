package nvml_test

import (
	"testing"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"ds01.dev/ds01/internal/nvml"
)

// hollow leaves a GPU instance without a compute instance on a card, as who is
// killed between the two calls does.
func hollow(t *testing.T, s *server.Server, card int, at uint32) {
	t.Helper()
	dev := mockCard(s, card)
	info, ret := dev.GetGpuInstanceProfileInfo(driver.GPU_INSTANCE_PROFILE_1_SLICE)
	if ret == driver.SUCCESS {
		_, ret = dev.CreateGpuInstanceWithPlacement(&info, &driver.GpuInstancePlacement{Start: at, Size: 1})
	}
	if ret != driver.SUCCESS {
		t.Fatal(ret)
	}
}

func leftoverHost(t *testing.T) (*server.Server, *nvml.Driver) {
	t.Helper()
	s := dgx()
	d := start(t, s, proc())
	migOn(t, d, 1, "1g.5gb", 0)
	hollow(t, s, 1, 4)
	if now := cards(t, d)[1]; len(now.Instances) != 1 {
		t.Fatalf("what is left over is listed: %+v", now.Instances)
	}
	return s, d
}

func TestALeftoverOfACrashKeepsNobodyUp(t *testing.T) {
	s, d := leftoverHost(t)
	uuid := cards(t, d)[1].UUID
	for gi := range mockCard(s, 1).GpuInstances {
		if len(gi.ComputeInstances) > 0 {
			gi.DestroyFunc = func() driver.Return {
				t.Error("an instance that is whole was to be destroyed")
				return driver.ERROR_IN_USE
			}
		}
	}
	if _, err := d.CreateInstance(t.Context(), uuid, "3g.20gb", 4); err != nil {
		t.Fatal(err)
	}
	if now := cards(t, d)[1]; len(now.Instances) != 2 || len(mockCard(s, 1).GpuInstances) != 2 {
		t.Errorf("%+v, and %d of the driver", now.Instances, len(mockCard(s, 1).GpuInstances))
	}
	if _, err := d.CreateInstance(t.Context(), uuid, "3g.20gb", 4); err == nil {
		t.Error("an instance that is whole made way for another")
	}
}

func TestMIGIsTurnedOffOverALeftover(t *testing.T) {
	s, d := leftoverHost(t)
	now := cards(t, d)[1]
	if err := d.DestroyInstance(t.Context(), now.Instances[0].UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetMIGMode(t.Context(), now.UUID, false); err != nil {
		t.Fatal(err)
	}
	if left := len(mockCard(s, 1).GpuInstances); left > 0 {
		t.Errorf("%d are left over", left)
	}
}
