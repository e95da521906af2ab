package sim_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/sim"
)

// planSteps is how many steps the plans are tried for on each host.
func planSteps() int {
	switch {
	case os.Getenv("DS01_TEST_LONG") == "":
		return 1
	case racing:
		return 25_000 // make test-long does the million without
	}
	return 250_000 // a million on all four
}

// Whatever people ask for, give back and run, on whatever cards: each plan can
// be carried out, touches nothing that is in use, gives nobody what another
// has, and is the same for the same host.
func TestPlansKeepTheirPromises(t *testing.T) {
	hosts := map[string]sim.Config{
		"A100":                 {GPUs: []string{"a100-80gb", "a100-80gb", "a100-80gb"}, MIG: map[int][]string{1: nil, 2: {"3g.40gb", "1g.10gb"}}},
		"a 3g of three slices": {GPUs: []string{"h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil}},
		"A30":                  {GPUs: []string{"a30", "a30"}, MIG: map[int][]string{0: nil}},
		"mixed":                {GPUs: []string{"a100-40gb", "h100-80gb", "a30", "h200"}, MIG: map[int][]string{0: nil, 2: {"2g.12gb"}}},
	}
	for name, cfg := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tables := tablesOf(t, cfg)
			total := tryPlans(t, func(rt *rapid.T, steps *int) {
				s := &site{driver: driver(t, cfg), tables: tables, steps: steps, freed: map[string]time.Time{}, now: time.Unix(0, 0)}
				rt.Repeat(map[string]func(*rapid.T){
					"": s.check, "ask": s.ask, "give back": s.giveBack, "stray": s.stray, "wait": s.wait, "tidy": s.tidy,
				})
			})
			t.Logf("%d steps", total)
		})
	}
}

func tablesOf(t *testing.T, cfg sim.Config) gpu.Tables {
	t.Helper()
	tables, err := gpu.NewTables(cards(t, driver(t, cfg)), gpu.LabMix())
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// tryPlans tries something until it has taken as many steps as it is to, and
// returns how many those were.
func tryPlans(t *testing.T, do func(rt *rapid.T, steps *int)) (steps int) {
	t.Helper()
	for {
		rapid.Check(t, func(rt *rapid.T) { do(rt, &steps) })
		if steps >= planSteps() || t.Failed() {
			return steps
		}
	}
}

// A site is a simulated host that people use.
type site struct {
	driver *sim.Driver
	tables gpu.Tables
	claims []gpu.Claim
	freed  map[string]time.Time
	now    time.Time
	stay   string // a device with a process that no claim explains
	steps  *int
}

func (s *site) host(t *rapid.T) gpu.Host {
	all, err := s.driver.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	readings, err := s.driver.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return gpu.Host{Cards: all, Claims: s.claims, Taken: gpu.Unexplained(all, s.claims, readings), FreedAt: maps.Clone(s.freed)}
}

func drawPolicy(t *rapid.T, tables gpu.Tables) gpu.Policy {
	return gpu.Policy{
		Mode:       rapid.SampledFrom([]gpu.MIGMode{gpu.MIGDynamic, gpu.MIGDynamic, gpu.MIGDynamic, gpu.MIGStatic, gpu.MIGOff}).Draw(t, "mode"),
		Tables:     tables,
		KeepFull:   rapid.IntRange(0, 2).Draw(t, "keep full"),
		Hysteresis: time.Duration(rapid.IntRange(0, 2).Draw(t, "hysteresis")) * time.Minute,
		CanReset:   rapid.Bool().Draw(t, "can reset"),
	}
}

func drawWants(t *rapid.T, h gpu.Host) []gpu.Want {
	names := []string{gpu.Full, "9g.999gb"}
	for _, c := range h.Cards {
		for _, p := range c.Profiles {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	want := rapid.SliceOfN(rapid.SampledFrom(names), 1, 2)
	var wants []gpu.Want
	for _, w := range rapid.SliceOfN(want, 1, 4).Draw(t, "wants") {
		wants = append(wants, w)
	}
	return wants
}

func (s *site) ask(t *rapid.T) {
	h, p := s.host(t), drawPolicy(t, s.tables)
	wants := drawWants(t, h)
	plan, err := gpu.Repartition(h, wants, p, s.now)
	other := h
	other.Cards = rapid.Permutation(h.Cards).Draw(t, "cards")
	other.Claims = rapid.Permutation(h.Claims).Draw(t, "claims")
	if again, errAgain := gpu.Repartition(other, wants, p, s.now); !reflect.DeepEqual(plan, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
		t.Fatalf("%+v (%v), in another order %+v (%v)", plan, err, again, errAgain)
	}
	if err != nil {
		if len(wants) == 1 && p.Mode == gpu.MIGDynamic && p.CanReset && p.Hysteresis == 0 {
			mustNotFit(t, h, wants[0])
		}
		return
	}
	made := s.carryOut(t, h, p, plan)
	claim := gpu.Claim{State: gpu.Running}
	for i, pick := range plan.Picks {
		if pick.Step >= 0 && pick.Profile != gpu.Full {
			pick.UUID = made[pick.Step]
		}
		if pick.UUID == "" || !slices.Contains(wants[i], pick.Profile) || pick.Share <= 0 || pick.Reason == "" {
			t.Fatalf("want %v got %+v", wants[i], pick)
		}
		claim.Devices = append(claim.Devices, gpu.Grant{UUID: pick.UUID})
		s.mustBe(t, pick)
	}
	s.claims = append(s.claims, claim)
	if rapid.Bool().Draw(t, "runs") {
		s.run(t, claim.Devices[0].UUID, 7)
	}
}

// mustBe fails when the device of a pick isn't there as it was promised.
func (s *site) mustBe(t *rapid.T, pick gpu.Pick) {
	for _, d := range gpu.Devices(s.host(t).Cards) {
		if d.UUID == pick.UUID {
			if d.Profile != pick.Profile || d.Share != pick.Share || d.Card != pick.Card {
				t.Fatalf("promised %+v, there is %+v", pick, d)
			}
			return
		}
	}
	t.Fatalf("no device for %+v", pick)
}

// carryOut does what the plan says, and returns the UUIDs of what it made, by
// step.
func (s *site) carryOut(t *rapid.T, h gpu.Host, p gpu.Policy, plan gpu.Plan) map[int]string {
	made := map[int]string{}
	for i, step := range plan.Steps {
		s.mayTouch(t, h, p, step)
		var err error
		switch step.Verb {
		case gpu.Destroy:
			delete(s.freed, step.Instance)
			err = s.driver.DestroyInstance(t.Context(), step.Instance)
		case gpu.Create:
			var in gpu.Instance
			if in, err = s.driver.CreateInstance(t.Context(), step.CardUUID, step.Profile, step.At.Start); in.Size != step.At.Size {
				t.Fatalf("step %+v made %+v", step, in)
			}
			made[i] = in.UUID
		case gpu.EnableMIG, gpu.DisableMIG:
			var reset bool
			if reset, err = s.driver.SetMIGMode(t.Context(), step.CardUUID, step.Verb == gpu.EnableMIG); reset != step.Reset {
				t.Fatalf("step %+v, the driver wants a reset: %v", step, reset)
			}
			if err == nil && reset {
				err = s.driver.Reset(t.Context(), step.CardUUID)
			}
		}
		if err != nil {
			t.Fatalf("step %d of %+v: %v", i, plan.Steps, err)
		}
	}
	return made
}

// mayTouch fails when a step isn't allowed, whatever it is for.
func (s *site) mayTouch(t *rapid.T, h gpu.Host, p gpu.Policy, step gpu.Step) {
	c := h.Cards[slices.IndexFunc(h.Cards, func(c gpu.Card) bool { return c.UUID == step.CardUUID })]
	on := append([]gpu.Instance{{UUID: c.UUID}}, c.Instances...)
	switch {
	case p.Mode != gpu.MIGDynamic:
		t.Fatalf("%+v in mode %s", step, p.Mode)
	case step.Reason == "":
		t.Fatalf("%+v without a reason", step)
	case step.Reset && !p.CanReset:
		t.Fatalf("%+v without the right to reset", step)
	case slices.ContainsFunc(on, func(in gpu.Instance) bool { return h.Taken[in.UUID] != "" }):
		t.Fatalf("%+v on a card with something that no claim explains", step)
	case s.held(step.Instance) || s.held(step.CardUUID):
		t.Fatalf("%+v of a device that a claim holds", step)
	case step.Verb == gpu.Destroy && s.now.Sub(h.FreedAt[step.Instance]) < p.Hysteresis:
		t.Fatalf("%+v of an instance that is to stay", step)
	}
}

func (s *site) held(uuid string) bool {
	return slices.ContainsFunc(s.claims, func(c gpu.Claim) bool {
		return slices.ContainsFunc(c.Devices, func(g gpu.Grant) bool { return g.UUID == uuid })
	})
}

// mustNotFit fails when some card could meet the want, by rules that are told
// here once more.
func mustNotFit(t *rapid.T, h gpu.Host, w gpu.Want) {
	held := map[string]bool{}
	for _, c := range h.Claims {
		for _, g := range c.Devices {
			held[g.UUID] = true
		}
	}
	for _, c := range h.Cards {
		inUse, closed := []string{}, held[c.UUID] || h.Taken[c.UUID] != ""
		for _, in := range c.Instances {
			if held[in.UUID] || h.Taken[in.UUID] != "" {
				inUse = append(inUse, in.UUID)
			} else if slices.Contains(w, in.Profile) && h.Taken[c.UUID] == "" {
				t.Fatalf("refused %v, and %+v is free", w, in)
			}
			closed = closed || h.Taken[in.UUID] != ""
		}
		if !closed && len(inUse) == 0 && slices.ContainsFunc(w, func(name string) bool {
			return name == gpu.Full || slices.ContainsFunc(c.Profiles, func(p gpu.Profile) bool { return p.Name == name })
		}) {
			t.Fatalf("refused %v, and card %d is empty", w, c.Index)
		}
	}
}

func (s *site) giveBack(t *rapid.T) {
	if len(s.claims) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.claims)-1).Draw(t, "claim")
	for _, g := range s.claims[i].Devices {
		s.run(t, g.UUID, 0)
		s.freed[g.UUID] = s.now
	}
	s.claims = slices.Delete(s.claims, i, i+1)
}

// stray lets a process run where nobody asked, or ends the one that does.
func (s *site) stray(t *rapid.T) {
	if s.stay != "" {
		if slices.ContainsFunc(gpu.Devices(s.host(t).Cards), func(d gpu.Device) bool { return d.UUID == s.stay }) {
			s.run(t, s.stay, 0)
		}
		s.stay = ""
		return
	}
	for _, d := range gpu.Devices(s.host(t).Cards) {
		if !s.held(d.UUID) && rapid.Bool().Draw(t, "here") {
			s.stay = d.UUID
			s.run(t, d.UUID, 9)
			return
		}
	}
}

// run has a process use a device, or none (0).
func (s *site) run(t *rapid.T, uuid string, pid int) {
	var processes []gpu.Process
	if pid > 0 {
		processes = []gpu.Process{{PID: pid}}
	}
	if err := s.driver.SetProcesses(uuid, processes); err != nil {
		t.Fatal(err)
	}
}

func (s *site) wait(t *rapid.T) {
	s.now = s.now.Add(time.Duration(rapid.IntRange(0, 180).Draw(t, "seconds")) * time.Second)
}

func (s *site) tidy(t *rapid.T) {
	h, p := s.host(t), drawPolicy(t, s.tables)
	s.carryOut(t, h, p, gpu.Tidy(h, gpu.Keeping{}, p, s.now))
	if left := gpu.Tidy(s.host(t), gpu.Keeping{}, p, s.now); len(left.Steps) > 0 {
		t.Fatalf("not tidy yet: %+v", left)
	}
}

// check fails when a device has two owners, or one that is gone.
func (s *site) check(t *rapid.T) {
	*s.steps++
	owned := map[string]bool{}
	devices := gpu.Devices(s.host(t).Cards)
	for _, c := range s.claims {
		for _, g := range c.Devices {
			if owned[g.UUID] || !slices.ContainsFunc(devices, func(d gpu.Device) bool { return d.UUID == g.UUID }) {
				t.Fatalf("%s has two owners or is gone: %s", g.UUID, describe(devices))
			}
			owned[g.UUID] = true
		}
	}
}

func describe(devices []gpu.Device) string {
	var all []string
	for _, d := range devices {
		all = append(all, d.Slot+" "+d.Profile)
	}
	return strings.Join(all, ", ")
}
