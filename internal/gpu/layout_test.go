package gpu_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// cutOf reads "0,1 on 2x1g.10gb 3g.40gb", "all off".
func cutOf(line string) gpu.Cut {
	words := strings.Fields(line)
	cut := gpu.Cut{All: words[0] == "all", MIG: words[1] == "on", Instances: map[string]int{}, Source: "f:1"}
	for index := range strings.SplitSeq(strings.TrimPrefix(words[0], "all"), ",") {
		var n int
		if _, err := fmt.Sscan(index, &n); err == nil {
			cut.Cards = append(cut.Cards, n)
		}
	}
	for _, word := range words[2:] {
		count, name, several := strings.Cut(word, "x")
		if !several {
			count, name = "1", word
		}
		cut.Instances[name], _ = strconv.Atoi(count)
	}
	return cut
}

// toldCards is a plan in short: what stays with =, the steps, then what is in
// the way.
func toldCards(plans []gpu.CardPlan) string {
	var lines []string
	for _, p := range plans {
		words := []string{fmt.Sprint(p.Card)}
		for _, in := range p.Kept {
			words = append(words, fmt.Sprintf("=%s@%d", in.Profile, in.Start))
		}
		for _, s := range p.Steps {
			text := map[gpu.Verb]string{gpu.Destroy: "-", gpu.Create: "+", gpu.EnableMIG: "on", gpu.DisableMIG: "off"}[s.Verb]
			if s.Profile != "" {
				text += fmt.Sprintf("%s@%d", s.Profile, s.At.Start)
			}
			if s.Reset {
				text += " reset"
			}
			words = append(words, text)
		}
		for _, b := range p.InTheWay {
			words = append(words, "!"+b.Slot)
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

func TestPlanLayout(t *testing.T) {
	tests := map[string]struct {
		deck   []string
		layout []string
		want   string
		refuse string // by Ready
	}{
		"a whole card is cut":                          {[]string{"off"}, []string{"0 on 3g.40gb 4g.40gb"}, "0 on +3g.40gb@4 +4g.40gb@0", ""},
		"a cut card becomes whole":                     {[]string{"on 1g.10gb@6"}, []string{"0 off"}, "0 -1g.10gb@6 off", ""},
		"cards that aren't named stay":                 {[]string{"off", "off"}, []string{"1 on 7g.80gb"}, "1 on +7g.80gb@0", ""},
		"all cards are meant":                          {[]string{"off", "on"}, []string{"all on 7g.80gb"}, "0 on +7g.80gb@0\n1 +7g.80gb@0", ""},
		"what is there stays, though free":             {[]string{"on 1g.10gb@2 2g.20gb@0"}, []string{"0 on 1g.10gb 3g.40gb"}, "0 =1g.10gb@2 -2g.20gb@0 +3g.40gb@4", ""},
		"what is as declared has no steps":             {[]string{"on 1g.10gb@2 1g.10gb@0"}, []string{"0 on 2x1g.10gb"}, "0 =1g.10gb@2 =1g.10gb@0", ""},
		"MIG on and nothing made is one too":           {[]string{"off", "on 1g.10gb@0"}, []string{"all on"}, "0 on\n1 -1g.10gb@0", ""},
		"of too many the one in use stays":             {[]string{"on 1g.10gb@0 1g.10gb@1! 1g.10gb@2"}, []string{"0 on 1g.10gb"}, "0 =1g.10gb@1 -1g.10gb@0 -1g.10gb@2", ""},
		"one in use stays where it stands":             {[]string{"on 1g.10gb@5! 1g.10gb@0"}, []string{"0 on 2x1g.10gb 3g.40gb"}, "0 =1g.10gb@5 -1g.10gb@0 +1g.10gb@6 +3g.40gb@0", ""},
		"a free one goes where the rest has no room":   {[]string{"on 1g.10gb@0 1g.10gb@4!"}, []string{"0 on 2x1g.10gb 4g.40gb"}, "0 =1g.10gb@4 -1g.10gb@0 +1g.10gb@6 +4g.40gb@0", ""},
		"one in use without room is in the way":        {[]string{"on 1g.10gb@0!"}, []string{"0 on 1g.10gb 4g.40gb"}, "0 -1g.10gb@0 +1g.10gb@6 +4g.40gb@0 !0.0", "0.0 (1g.10gb at 0) is held"},
		"one in use that isn't declared is in the way": {[]string{"on 2g.20gb@4!"}, []string{"0 on 1g.10gb"}, "0 -2g.20gb@4 +1g.10gb@6 !0.0", "0.0 (2g.20gb at 4) is held"},
		"a held card is in the way":                    {[]string{"off!"}, []string{"0 on"}, "0 on !0", "card 0 is held"},
		"a held card may stay whole":                   {[]string{"off!"}, []string{"0 off"}, "0", ""},
		"who isn't explained closes the card":          {[]string{"on 1g.10gb@6?"}, []string{"0 on 2x1g.10gb"}, "0 =1g.10gb@6 +1g.10gb@5 !0", "a stranger"},
		"who isn't explained is in the way":            {[]string{"on 1g.10gb@6?"}, []string{"0 on"}, "0 -1g.10gb@6 !0.0", "a stranger"},
		"who isn't explained may stay":                 {[]string{"on 1g.10gb@6?"}, []string{"0 on 1g.10gb"}, "0 =1g.10gb@6", ""},
		"a reset is in the way":                        {[]string{"off reset"}, []string{"0 on 7g.80gb"}, "0 on reset +7g.80gb@0 !0", "which ds01 doesn't do"},
		"without a change of the mode there's none":    {[]string{"on reset"}, []string{"0 on 7g.80gb"}, "0 +7g.80gb@0", ""},
		"one blocked card holds the others":            {[]string{"off!", "off"}, []string{"all on"}, "0 on !0\n1 on", "card 0 is held"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := deck(t, tt.deck...)
			var layout gpu.Layout
			for _, line := range tt.layout {
				layout = append(layout, cutOf(line))
			}
			plans, err := gpu.PlanLayout(h, layout)
			if err != nil {
				t.Fatal(problem.OneLine(err))
			}
			if diff := cmp.Diff(tt.want, toldCards(plans)); diff != "" {
				t.Error(diff)
			}
			steps, err := gpu.Ready(plans, false)
			if tt.refuse == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), tt.refuse) || steps != nil {
				t.Errorf("got %v, %v", steps, err)
			}
		})
	}
}

func TestALayoutThatNoCardCanHaveNamesItsLine(t *testing.T) {
	tests := map[string]struct {
		layout []string
		why    []string
	}{
		"a card that isn't there":   {[]string{"0,5 off"}, []string{"f:1", "there is no card 5, this host has 2"}},
		"a card twice":              {[]string{"0 off", "all off"}, []string{"f:1", "card 0 is declared at f:1 already"}},
		"a profile of another card": {[]string{"0 on 1g.5gb"}, []string{"f:1", "card 0 (A100)", "no profile 1g.5gb", "3g.40gb (at most 2, at 0 4)"}},
		"more than fits":            {[]string{"0 on 3x3g.40gb"}, []string{"f:1", "at most 2 3g.40gb"}},
		"none of a profile":         {[]string{"0 on 0x3g.40gb"}, []string{"f:1", "0 instances of 3g.40gb"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := deck(t, "off", "off")
			var layout gpu.Layout
			for _, line := range tt.layout {
				layout = append(layout, cutOf(line))
			}
			_, err := gpu.PlanLayout(h, layout)
			for _, part := range tt.why {
				if text := problem.OneLine(err); !errors.Is(err, problem.ErrInvalid) || !strings.Contains(text, part) {
					t.Errorf("%q doesn't say %q", text, part)
				}
			}
		})
	}
}

func TestAResetIsSaidWithItsCommands(t *testing.T) {
	h, _ := deck(t, "off reset", "on reset 1g.10gb@6", "on")
	h.Cards[2].MIGWaits = true
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("0 on"), cutOf("1 off"), cutOf("2 on")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"'nvidia-smi -i 0 -mig 1', 'nvidia-smi --gpu-reset -i 0'", "or reboot", "--skip-resets"},
		{"'nvidia-smi mig -i 1 -dci', 'nvidia-smi mig -i 1 -dgi', 'nvidia-smi -i 1 -mig 0', 'nvidia-smi --gpu-reset -i 1'"},
		{"root: 'nvidia-smi --gpu-reset -i 2'"},
	} {
		for _, part := range want {
			if !plans[i].NeedsReset() || !strings.Contains(plans[i].InTheWay[0].Next, part) {
				t.Errorf("card %d: %+v doesn't say %q", i, plans[i].InTheWay, part)
			}
		}
	}
	if steps, err := gpu.Ready(plans, true); err != nil || len(steps) != 0 {
		t.Errorf("with --skip-resets: %v, %v", steps, err)
	}
}

func TestSkippedResetsLeaveTheOthersTheirHindrances(t *testing.T) {
	h, _ := deck(t, "off reset", "off!", "off")
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("all on")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gpu.Ready(plans, true); !errors.Is(err, problem.ErrConflict) || strings.Contains(err.Error(), "card 0") {
		t.Errorf("got %v", err)
	}
	steps, err := gpu.Ready([]gpu.CardPlan{plans[0], plans[2]}, true)
	if err != nil || len(steps) != 1 || steps[0].Card != 2 {
		t.Errorf("got %v, %v", steps, err)
	}
}

func TestAFaultyInstanceStaysOrIsInTheWay(t *testing.T) {
	h, _ := deck(t, "on 1g.10gb@6")
	h.Cards[0].Instances[0].Problem = "the compute instance doesn't fill it"
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("0 on 1g.10gb 2g.20gb")})
	if _, blocked := gpu.Ready(plans, false); err != nil || blocked != nil {
		t.Errorf("it may stay: %v, %v", err, blocked)
	}
	h.Cards[0].Instances = append([]gpu.Instance{{UUID: "fine", Profile: "1g.10gb", Start: 5, Size: 1}}, h.Cards[0].Instances...)
	if plans, err = gpu.PlanLayout(h, gpu.Layout{cutOf("0 on 1g.10gb")}); err != nil || toldCards(plans) != "0 =1g.10gb@6 -1g.10gb@5" {
		t.Errorf("it stays rather than one that ds01 can make anew: %s, %v", toldCards(plans), err)
	}
	plans, err = gpu.PlanLayout(h, gpu.Layout{cutOf("0 off")})
	if _, blocked := gpu.Ready(plans, false); err != nil || !strings.Contains(problem.OneLine(blocked), "'nvidia-smi mig -i 0 -dgi'") {
		t.Errorf("it has to go: %v, %v", err, blocked)
	}
}

// As long as MIG is off, some drivers tell no profiles.
func TestACardOfUnknownProfilesIsTurnedOnFirst(t *testing.T) {
	h, _ := deck(t, "off")
	h.Cards[0].Profiles = nil
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("0 on 1g.10gb")})
	if err != nil || toldCards(plans) != "0 on !0" {
		t.Errorf("got %s, %v", toldCards(plans), err)
	}
	if _, err := gpu.Ready(plans, false); !errors.Is(err, problem.ErrConflict) || !strings.Contains(problem.OneLine(err), "mig-devices: {}") {
		t.Errorf("got %v", err)
	}
	for declared, want := range map[string]string{"0 on": "0 on", "0 off": "0"} {
		plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf(declared)})
		if err != nil || toldCards(plans) != want {
			t.Errorf("%s: got %s, %v", declared, toldCards(plans), err)
		}
	}
	h.Cards = append(h.Cards, h.Cards[0]) // another one of its model tells them
	h.Cards[1].UUID, h.Cards[1].Index, h.Cards[1].MIG, h.Cards[1].Profiles = "GPU-1", 1, true, a100(4, 8)
	if plans, err = gpu.PlanLayout(h, gpu.Layout{cutOf("0 on 1g.10gb")}); err != nil || toldCards(plans) != "0 on +1g.10gb@6" {
		t.Errorf("got %s, %v", toldCards(plans), err)
	}
}

func TestAFaultyCardIsLeftAlone(t *testing.T) {
	h, _ := deck(t, "off", "on 1g.10gb@6")
	h.Cards[0].Problem, h.Cards[1].Problem = "lost", "lost"
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("0 on"), cutOf("1 on 1g.10gb")})
	if err != nil || toldCards(plans) != "0 on !0\n1 =1g.10gb@6" {
		t.Errorf("got %s, %v", toldCards(plans), err)
	}
	if _, err := gpu.Ready(plans, false); !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "card 0: lost") {
		t.Errorf("got %v", err)
	}
}

func TestADrainedCardCanBeCut(t *testing.T) {
	h, _ := deck(t, "on 1g.10gb@6")
	h.Cards[0].Drained = "it is to be cut"
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("0 off")})
	if steps, blocked := gpu.Ready(plans, false); err != nil || blocked != nil || len(steps) != 2 {
		t.Errorf("got %v, %v, %v", steps, blocked, err)
	}
}

func TestAReleasedClaimIsInNobodysWay(t *testing.T) {
	h, _ := deck(t, "on 1g.10gb@6!", "on 1g.10gb@6!")
	h.Claims[0].State, h.Claims[1].ID = gpu.Released, "held"
	plans, err := gpu.PlanLayout(h, gpu.Layout{cutOf("all off")})
	if err != nil || toldCards(plans) != "0 -1g.10gb@6 off\n1 -1g.10gb@6 off !1.0" || plans[1].InTheWay[0].Claim != "held" || !strings.Contains(plans[1].InTheWay[0].Next, "gpu drain 1") {
		t.Errorf("got %s, %v", toldCards(plans), err)
	}
}

// Nothing that would still fit is given up: no larger set of instances could
// have stayed, and the order in which a host is listed changes nothing.
func TestAsManyInstancesStayAsCan(t *testing.T) {
	table := a100(4, 8)
	rapid.Check(t, func(rt *rapid.T) {
		var names []string
		for _, p := range table {
			names = append(names, p.Name)
		}
		there := rapid.SliceOfN(rapid.SampledFrom(names), 0, 5).Draw(rt, "there")
		places, err := gpu.PlaceLayout(table, there)
		wanted := rapid.SliceOfN(rapid.SampledFrom(names), 0, 5).Draw(rt, "wanted")
		if _, impossible := gpu.PlaceLayout(table, wanted); err != nil || impossible != nil {
			return
		}
		line := "on"
		for i, name := range there {
			line += fmt.Sprintf(" %s@%d%s", name, places[i].Start, rapid.SampledFrom([]string{"", "", "!"}).Draw(rt, "mark"))
		}
		cut := gpu.Cut{Cards: []int{0}, MIG: true, Instances: map[string]int{}, Source: "f:1"}
		for _, name := range wanted {
			cut.Instances[name]++
		}
		h, _ := deck(t, line)
		plans, err := gpu.PlanLayout(h, gpu.Layout{cut})
		if err != nil {
			rt.Fatal(err)
		}
		other := h
		other.Claims = rapid.Permutation(h.Claims).Draw(rt, "claims")
		if again, err := gpu.PlanLayout(other, gpu.Layout{cut}); err != nil || !reflect.DeepEqual(plans, again) {
			rt.Fatalf("%v, in another order %v, %v", plans, again, err)
		}
		if most := mostThatStay(table, h, wanted); most != len(plans[0].Kept) && len(plans[0].InTheWay) == 0 && len(h.Claims) == 0 {
			rt.Fatalf("%s to %v: %s, and %d could stay", line, wanted, toldCards(plans), most)
		}
	})
}

// mostThatStay tries every set of instances against every way to place the
// rest.
func mostThatStay(table []gpu.Profile, h gpu.Host, wanted []string) int {
	most := 0
	for set := range 1 << len(h.Cards[0].Instances) {
		missing := slices.Clone(wanted)
		names, placed := []string{}, []gpu.Placement{}
		ok := true
		for i, in := range h.Cards[0].Instances {
			if set&(1<<i) == 0 {
				continue
			}
			at := slices.Index(missing, in.Profile)
			if ok = ok && at >= 0; ok {
				missing = slices.Delete(missing, at, at+1)
				names, placed = append(names, in.Profile), append(placed, gpu.Placement{Start: in.Start, Size: in.Size})
			}
		}
		if ok && len(placed) > most && fits(table, append(names, missing...), placed) {
			most = len(placed)
		}
	}
	return most
}
