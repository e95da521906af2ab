package gpu_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// mixed is a host of a whole card and one with an instance.
func mixed() []gpu.Card {
	return []gpu.Card{
		{UUID: "GPU-0", Index: 0},
		{UUID: "GPU-1", Index: 1, MIG: true, Instances: []gpu.Instance{{UUID: "MIG-1", Profile: "1g.10gb", Slices: 1, SlicesOfCard: 7}}},
	}
}

func TestADrainedCardAndItsInstancesAreNotGranted(t *testing.T) {
	cards := mixed()
	cards[1].Drained = gpu.Drain{Reason: "a fan", By: "root"}.String()
	devices := gpu.Devices(cards)
	if devices[0].Problem != "" || devices[1].Problem != "drained: a fan (by root)" || !strings.Contains(devices[1].Mend, "gpu undrain 1") {
		t.Errorf("got %+v", devices)
	}
	cards[1].Problem, cards[1].Mend = "lost", "Reboot."
	if d := gpu.Devices(cards)[1]; d.Problem != "lost; and drained: a fan (by root)" || d.Mend != "Reboot." {
		t.Errorf("lost and drained: %+v", d)
	}
	cards[0].Drained = gpu.Drain{By: "eve"}.String()
	quota := gpu.Quota{MaxDevices: quantity.None[int](), MaxPerContainer: quantity.None[int](), MaxShare: quantity.None[quantity.GPUShare](), AllowFull: true}
	_, err := gpu.Allocate(gpu.Pool{Devices: gpu.Devices(cards)}, 1001, gpu.Request{Count: 1}, quota)
	if !errors.Is(err, problem.ErrExhausted) || !strings.Contains(err.Error(), "out of service: 2") {
		t.Errorf("with every card drained: %v", err)
	}
}

func TestACardIsFoundByItsNumberAndUUID(t *testing.T) {
	for name, want := range map[string]string{"0": "GPU-0", "1": "GPU-1", "GPU-1": "GPU-1"} {
		if c, err := gpu.FindCard(mixed(), name); err != nil || c.UUID != want {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, why := range map[string]string{"2": "no card", "": "no card", "1.0": "instance on card 1", "MIG-1": "instance on card 1"} {
		if _, err := gpu.FindCard(mixed(), name); !errors.Is(err, problem.ErrNotFound) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhoHoldsADeviceThatIsNotGrantedIsFound(t *testing.T) {
	cards := mixed()
	cards[1].Problem = "lost"
	held := []gpu.Grant{{UUID: "GPU-0"}, {UUID: "MIG-1"}}
	all := gpu.Ailing(gpu.Devices(cards), []gpu.Claim{{ID: "a", State: gpu.Released, Devices: held}, {ID: "b", State: gpu.Held, Devices: held}})
	for drained, want := range map[string]int{"": 0, "by root": 1} {
		cards[1].Doubt, cards[1].Drained = true, drained
		if more := gpu.Ailing(gpu.Devices(cards), []gpu.Claim{{ID: "b", State: gpu.Held, Devices: held}}); len(more) != want {
			t.Errorf("a silent driver, drained %q: %+v", drained, more)
		}
	}
	if len(all) != 1 || all[0].Claim.ID != "b" || all[0].Device.UUID != "MIG-1" {
		t.Errorf("got %+v", all)
	}
}
