package sim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/nvmltest"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/problem"
)

func driver(t *testing.T, cfg sim.Config) *sim.Driver {
	t.Helper()
	d, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mixed has two whole cards and a card with MIG.
func mixed(t *testing.T) *sim.Driver {
	t.Helper()
	return driver(t, sim.Config{
		GPUs: []string{"a100-80gb", "a100-80gb", "h100-80gb"},
		MIG:  map[int][]string{1: {"3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"}},
	})
}

func cards(t *testing.T, d *sim.Driver) []gpu.Card {
	t.Helper()
	all, err := d.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestContract(t *testing.T) {
	nvmltest.Suite(t, func(t *testing.T) nvmltest.Driver { return mixed(t) })
	t.Run("with a lost card", func(t *testing.T) {
		nvmltest.Suite(t, func(t *testing.T) nvmltest.Driver {
			d := mixed(t)
			if err := d.Lose(cards(t, d)[1].UUID); err != nil {
				t.Fatal(err)
			}
			return d
		})
	})
}

func TestContractOfMIGOnEveryModel(t *testing.T) {
	nvmltest.SuiteMIG(t, func(t *testing.T) nvmltest.Driver { return driver(t, sim.Config{GPUs: sim.Models()}) })
}

func TestTheConfiguredLayoutIsPlacedByTable(t *testing.T) {
	var got []string
	for _, dev := range gpu.Devices(cards(t, mixed(t))) {
		got = append(got, fmt.Sprintf("%s %s %s %v", dev.Slot, dev.Profile, dev.Share, dev.Nodes))
	}
	want := []string{
		"0 full 1 [{nvidia0 120 0}]",
		"1.0 3g.40gb 3/7 [{nvidia1-mig4 120 21}]",
		"1.1 2g.20gb 2/7 [{nvidia1-mig2 120 19}]",
		"1.2 1g.10gb 1/7 [{nvidia1-mig1 120 18}]",
		"1.3 1g.10gb 1/7 [{nvidia1-mig0 120 17}]",
		"2 full 1 [{nvidia2 120 32}]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUUIDsAreTheSameAfterARestart(t *testing.T) {
	if diff := cmp.Diff(cards(t, mixed(t)), cards(t, mixed(t))); diff != "" {
		t.Error(diff)
	}
}

func TestEveryModelHasItsOwnSlices(t *testing.T) {
	want := map[string]string{"a30": "1g.6gb 1g.6gb+me 2g.12gb 2g.12gb+me 4g.24gb", "h200": "1g.18gb 1g.18gb+me 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb"}
	for name, names := range want {
		d := driver(t, sim.Config{GPUs: []string{name}})
		profiles, err := d.Profiles(t.Context(), cards(t, d)[0].UUID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range profiles {
			got = append(got, p.Name)
		}
		if strings.Join(got, " ") != names {
			t.Errorf("%s has %q", name, got)
		}
	}
	d := driver(t, sim.Config{GPUs: []string{"a30"}, MIG: map[int][]string{0: {"1g.6gb"}}})
	if share := gpu.Devices(cards(t, d))[0].Share.String(); share != "1/4" {
		t.Errorf("1g of an A30 is %s GPU", share)
	}
}

func TestABadConfigurationSaysWhatIsPossible(t *testing.T) {
	tests := map[string]struct {
		cfg  sim.Config
		want []string
	}{
		"an unknown model":                  {sim.Config{GPUs: []string{"a100-80gb", "v100"}}, []string{"card 1", `"v100"`, "a100-40gb", "h100-80gb"}},
		"an unknown profile":                {sim.Config{GPUs: []string{"a30"}, MIG: map[int][]string{0: {"1g.10gb"}}}, []string{"no profile 1g.10gb", "1g.6gb (at most 4"}},
		"a layout that doesn't fit":         {sim.Config{GPUs: []string{"a100-80gb"}, MIG: map[int][]string{0: {"4g.40gb", "4g.40gb"}}}, []string{"at most 1 4g.40gb", "3g.40gb (at most 2, at 0 4)"}},
		"a layout for a card that isn't so": {sim.Config{GPUs: []string{"a30"}, MIG: map[int][]string{1: nil}}, []string{"card 1", "there are 1 cards"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := sim.New(tt.cfg)
			text := problem.OneLine(err)
			for _, part := range tt.want {
				if !strings.Contains(text, part) {
					t.Errorf("%q doesn't say %q", text, part)
				}
			}
			if !errors.Is(err, problem.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReadingsAreDriven(t *testing.T) {
	d := mixed(t)
	all := cards(t, d)
	whole, mig, in := all[0].UUID, all[1].UUID, all[1].Instances[0].UUID
	set(t, d.Set(whole, sim.Override{Utilization: new(80), Memory: new(int64(30 << 30)), Power: new(300.0), Temperature: new(70)}))
	set(t, d.Set(whole, sim.Override{Temperature: new(71)})) // the others stay
	set(t, d.Set(in, sim.Override{Utilization: new(40)}))
	set(t, d.SetProcesses(in, []gpu.Process{{PID: 7, MemoryBytes: 1 << 30}, {PID: 8, MemoryBytes: 2 << 30}}))

	readings, err := d.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	processes := []gpu.Process{{PID: 7, MemoryBytes: 1 << 30}, {PID: 8, MemoryBytes: 2 << 30}}
	want := map[string]gpu.Reading{
		whole: {UtilizationPercent: 80, MemoryUsedBytes: 30 << 30, PowerWatts: 300, TemperatureC: 71},
		mig:   {UtilizationPercent: -1, MemoryUsedBytes: 3 << 30, PowerWatts: 60, TemperatureC: 35, Processes: processes},
		in:    {UtilizationPercent: 40, MemoryUsedBytes: 3 << 30, PowerWatts: -1, TemperatureC: -1, Processes: processes},
	}
	for uuid, r := range want {
		if diff := cmp.Diff(r, readings[uuid]); diff != "" {
			t.Error(diff)
		}
	}
	if len(readings) != 7 {
		t.Errorf("%d readings for three cards and four instances", len(readings))
	}
}

func set(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrongReadingsAreRefusedAndChangeNothing(t *testing.T) {
	d := mixed(t)
	all := cards(t, d)
	whole, mig, in := all[0].UUID, all[1].UUID, all[1].Instances[0]
	before, _ := d.Readings(t.Context())
	nan := 0.0
	nan /= nan
	tests := map[string]error{
		"utilisation above 100":           d.Set(whole, sim.Override{Utilization: new(101)}),
		"negative utilisation":            d.Set(whole, sim.Override{Utilization: new(-1)}),
		"more memory than the card":       d.Set(whole, sim.Override{Memory: new(all[0].MemoryBytes + 1)}),
		"more memory than the instance":   d.Set(in.UUID, sim.Override{Memory: new(in.MemoryBytes + 1)}),
		"one wrong number among good":     d.Set(whole, sim.Override{Utilization: new(5), Temperature: new(1000)}),
		"power that is no number":         d.Set(whole, sim.Override{Power: &nan}),
		"power of an instance":            d.Set(in.UUID, sim.Override{Power: new(10.0)}),
		"utilisation of a card with MIG":  d.Set(mig, sim.Override{Utilization: new(10)}),
		"a process without a number":      d.SetProcesses(whole, []gpu.Process{{PID: 0}}),
		"processes larger than the card":  d.SetProcesses(in.UUID, []gpu.Process{{PID: 1, MemoryBytes: in.MemoryBytes}, {PID: 2, MemoryBytes: 1}}),
		"processes on a card with MIG on": d.SetProcesses(mig, []gpu.Process{{PID: 1}}),
	}
	for name, err := range tests {
		if !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"readings": d.Set("GPU-x", sim.Override{}), "processes": d.SetProcesses("GPU-x", nil), "losing": d.Lose("GPU-x"), "losing an instance": d.Lose(in.UUID),
	} {
		if !errors.Is(err, problem.ErrNotFound) {
			t.Errorf("%s of an unknown card: %v", name, err)
		}
	}
	after, _ := d.Readings(t.Context())
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
}

func TestADeviceInUseStaysAsItIs(t *testing.T) {
	d := mixed(t)
	ctx, all := t.Context(), cards(t, d)
	whole, hopper, in := all[0].UUID, all[2].UUID, all[1].Instances[0].UUID
	for _, uuid := range []string{whole, hopper, in} {
		set(t, d.SetProcesses(uuid, []gpu.Process{{PID: 7}}))
	}
	_, ampereErr := d.SetMIGMode(ctx, whole, true)
	_, hopperErr := d.SetMIGMode(ctx, hopper, true)
	for name, err := range map[string]error{
		"MIG on": ampereErr, "MIG on, Hopper": hopperErr, "reset": d.Reset(ctx, whole), "reset with instances": d.Reset(ctx, all[1].UUID),
		"destroy": d.DestroyInstance(ctx, in),
	} {
		if !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s in use: %v", name, err)
		}
	}
	if diff := cmp.Diff(all, cards(t, d)); diff != "" {
		t.Error(diff)
	}
	set(t, d.SetProcesses(in, nil))
	set(t, d.DestroyInstance(ctx, in))
}

// The mock's table of an H200 gives 1g.35gb one memory slice, so places alone
// would let the card hand out more memory than it has.
func TestInstancesHaveNoMoreMemoryThanTheCard(t *testing.T) {
	d := driver(t, sim.Config{GPUs: []string{"h200"}, MIG: map[int][]string{0: {"1g.35gb", "1g.35gb", "1g.35gb", "1g.35gb"}}})
	c := cards(t, d)[0]
	for _, in := range c.Instances {
		if in.Start < 3 {
			t.Fatalf("not at the high end: %+v", in)
		}
	}
	_, err := d.CreateInstance(t.Context(), c.UUID, "2g.35gb", 0)
	if !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "MiB of memory") {
		t.Errorf("got %v", err)
	}
}

func TestALostCardHasAProblemUntilItHeals(t *testing.T) {
	d := mixed(t)
	all := cards(t, d)
	set(t, d.Lose(all[1].UUID))
	for _, dev := range gpu.Devices(cards(t, d)) {
		if lost := dev.Card == 1; lost != (dev.Problem != "") {
			t.Errorf("device %s: problem %q", dev.Slot, dev.Problem)
		}
	}
	readings, err := d.Readings(t.Context())
	if err != nil || len(readings) != 2 {
		t.Errorf("two cards answer, got %v, %v", readings, err)
	}
	_, modeErr := d.SetMIGMode(t.Context(), all[1].UUID, false)
	_, createErr := d.CreateInstance(t.Context(), all[1].UUID, "1g.10gb", 6)
	for name, err := range map[string]error{
		"MIG mode": modeErr, "create": createErr, "destroy": d.DestroyInstance(t.Context(), all[1].Instances[0].UUID), "reset": d.Reset(t.Context(), all[1].UUID),
	} {
		if !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("%s on a lost card: %v", name, err)
		}
	}
	set(t, d.Heal(all[1].UUID))
	if diff := cmp.Diff(all, cards(t, d)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeReadTellsNothingAndIsWellOtherwise(t *testing.T) {
	d := mixed(t)
	all, before := cards(t, d), readings(t, d)
	set(t, d.Set(all[1].Instances[0].UUID, sim.Override{Utilization: new(80)}))
	set(t, d.Garble(all[1].UUID, true))
	for _, uuid := range []string{all[1].UUID, all[1].Instances[0].UUID} {
		if r := readings(t, d)[uuid]; r.UtilizationPercent != -1 || r.MemoryUsedBytes != -1 || r.PowerWatts != -1 || r.TemperatureC != -1 || !r.Unlisted || r.Processes != nil {
			t.Errorf("%s reads %+v", uuid, r)
		}
	}
	if diff := cmp.Diff(before[all[0].UUID], readings(t, d)[all[0].UUID]); diff != "" {
		t.Errorf("another card:\n%s", diff)
	}
	if diff := cmp.Diff(all, cards(t, d)); diff != "" {
		t.Errorf("the cards:\n%s", diff)
	}
	set(t, d.Garble(all[1].UUID, false))
	if r := readings(t, d)[all[1].Instances[0].UUID]; r.UtilizationPercent != 80 {
		t.Errorf("afterwards: %+v", r)
	}
	if err := d.Garble("GPU-none", true); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// A layout that the search finds is one that the state machine takes, and the
// other way round: PlaceLayout and create know the same rules twice.
func TestTheDriverTakesEveryLayoutThatIsFound(t *testing.T) {
	for _, name := range sim.Models() {
		d := driver(t, sim.Config{GPUs: []string{name}})
		table, err := d.Profiles(t.Context(), cards(t, d)[0].UUID)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			var wanted []string
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(table)-1), 0, 7).Draw(rt, "profiles") {
				wanted = append(wanted, table[i].Name)
			}
			_, impossible := gpu.PlaceLayout(table, wanted)
			d, err := sim.New(sim.Config{GPUs: []string{name}, MIG: map[int][]string{0: wanted}})
			if (impossible == nil) != (err == nil) {
				rt.Fatalf("%s %v: %v, %v", name, wanted, impossible, err)
			}
			if err == nil && len(cards(t, d)[0].Instances) != len(wanted) {
				rt.Fatalf("%s %v: %v", name, wanted, cards(t, d))
			}
		})
	}
}

func TestConcurrentCallersSeeAConsistentDriver(t *testing.T) {
	d := driver(t, sim.Config{GPUs: []string{"h100-80gb"}, MIG: map[int][]string{0: nil}})
	card := cards(t, d)[0].UUID
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() { churn(t.Context(), t, d, card, worker%7) })
	}
	wg.Wait()
	if left := cards(t, d)[0].Instances; len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func churn(ctx context.Context, t *testing.T, d *sim.Driver, card string, start int) {
	for range 50 {
		in, err := d.CreateInstance(ctx, card, "1g.10gb", start)
		if err != nil {
			continue // another worker stands there
		}
		if all, err := d.Cards(ctx); err != nil || len(all[0].Instances) > 7 {
			t.Errorf("%v, %v", all, err)
		}
		if err := d.SetProcesses(in.UUID, []gpu.Process{{PID: 1}}); err != nil {
			t.Error(err)
		}
		if err := d.DestroyInstance(ctx, in.UUID); !errors.Is(err, problem.ErrConflict) {
			t.Errorf("destroyed in use: %v", err)
		}
		if err := d.SetProcesses(in.UUID, nil); err != nil {
			t.Error(err)
		}
		if err := d.DestroyInstance(ctx, in.UUID); err != nil {
			t.Error(err)
		}
	}
}
