package gpu_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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

// An administrator names what is on a drained card, and gets it past limits;
// nobody else does, and nothing else that is wrong is passed over.
func TestAnAdministratorTriesADrainedCard(t *testing.T) {
	drained := mixed()
	drained[1].Drained, drained[1].DrainedAt = "by root", time.Unix(100, 0)
	ill, illInstance := mixed(), mixed()
	for _, cards := range [][]gpu.Card{ill, illInstance} {
		cards[1].Drained, cards[1].DrainedAt = "by root", time.Unix(100, 0)
	}
	ill[1].Problem, illInstance[1].Instances[0].Problem = "lost", "XID 94"
	held := gpu.Pool{Claims: []gpu.Claim{{ID: "a", UID: 1, State: gpu.Held, Devices: []gpu.Grant{{UUID: "MIG-1"}}}}}
	admin := gpu.Quota{NameAny: true}
	for name, c := range map[string]struct {
		cards []gpu.Card
		pool  gpu.Pool
		ask   string
		quota gpu.Quota
		want  int
	}{
		"by its slot":                  {cards: drained, ask: "device=1.0", quota: admin, want: 1},
		"by its UUID":                  {cards: drained, ask: "device=MIG-1", quota: admin, want: 1},
		"a plain person":               {cards: drained, ask: "device=1.0"},
		"by its kind":                  {cards: drained, ask: "1g.10gb", quota: admin},
		"any":                          {cards: drained, ask: "1", quota: admin},
		"all":                          {cards: drained, ask: "all", quota: admin},
		"with one that isn't drained":  {cards: drained, ask: "device=1.0,0", quota: admin},
		"named twice":                  {cards: drained, ask: "device=1.0,MIG-1", quota: admin},
		"not there":                    {cards: drained, ask: "device=1.7", quota: admin},
		"the card is lost besides":     {cards: ill, ask: "device=1.0", quota: admin},
		"the instance is ill besides":  {cards: illInstance, ask: "device=1.0", quota: admin},
		"not drained":                  {cards: mixed(), ask: "device=1.0", quota: admin},
		"somebody holds it":            {cards: drained, pool: held, ask: "device=1.0", quota: admin},
		"somebody uses it unexplained": {cards: drained, pool: gpu.Pool{Taken: map[string]string{"MIG-1": "a process"}}, ask: "device=1.0", quota: admin},
	} {
		req, err := gpu.ParseRequest(c.ask)
		if err != nil {
			t.Fatal(err)
		}
		c.pool.Devices = gpu.Devices(c.cards)
		if got := gpu.Trial(c.pool, req, c.quota); len(got) != c.want || c.want == 1 && got[0].UUID != "MIG-1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for since, want := range map[int64]int{99: 1, 101: 0} { // who holds it as a trial knows
		claim := gpu.Claim{ID: "a", State: gpu.Running, Devices: []gpu.Grant{{UUID: "MIG-1"}}, Since: time.Unix(since, 0)}
		if got := gpu.Ailing(gpu.Devices(drained), []gpu.Claim{claim}); len(got) != want {
			t.Errorf("granted at %d: %+v", since, got)
		}
	}
}
