package gpu_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A deck is a host in one line for each card: "on" or "off" for MIG, then its
// instances as PROFILE@START, with a mark: ! held, ? used by a stranger, none
// for free. "off!" is a card that is held, "reset" one whose mode changes with
// a reset only.
func deck(t testing.TB, lines ...string) (gpu.Host, gpu.Policy) {
	t.Helper()
	h := gpu.Host{Taken: map[string]string{}, FreedAt: map[string]time.Time{}}
	for i, line := range lines {
		words := strings.Fields(line)
		c := gpu.Card{
			UUID: "GPU-" + strconv.Itoa(i), Index: i, Model: "A100", MemoryBytes: 80 << 30, NUMANode: -1,
			MIG: words[0] == "on", MIGResets: slices.Contains(words, "reset"), Profiles: a100(4, 8),
		}
		if words[0] == "off!" {
			h.Claims = append(h.Claims, gpu.Claim{State: gpu.Running, Devices: []gpu.Grant{{UUID: c.UUID, Slot: strconv.Itoa(i)}}})
		}
		for _, word := range words[1:] {
			if strings.Contains(word, "@") {
				c.Instances = append(c.Instances, instance(&h, c, word))
			}
		}
		h.Cards = append(h.Cards, c)
	}
	tables, err := gpu.NewTables(h.Cards, gpu.LabMix())
	if err != nil {
		t.Fatal(err)
	}
	return h, gpu.Policy{Mode: gpu.MIGDynamic, Tables: tables}
}

// A grant says where its device is, but its UUID says which it is: what was
// made or numbered anew since is found all the same.
func TestADeviceIsHeldWhereverItsSlotSays(t *testing.T) {
	for name, slot := range map[string]func(was string) string{
		"no slot":                     func(string) string { return "" },
		"another's slot":              func(was string) string { return map[string]string{"0.0": "0.1", "0.1": "1", "1": "0"}[was] },
		"a slot that the host lacks":  func(string) string { return "7.9" },
		"an instance the card lacks":  func(string) string { return "0.9" },
		"no slot at all":              func(string) string { return "first" },
		"two dots":                    func(string) string { return "0.0.0" },
		"a number larger than an int": func(string) string { return "99999999999999999999.0" },
	} {
		t.Run(name, func(t *testing.T) {
			h, p := deck(t, "on 1g.10gb@6! 3g.40gb@0! 1g.10gb@4", "off!", "off")
			want, err := gpu.Repartition(h, wants("1g.10gb full"), p, noon)
			if err != nil || told(want) != "get 0:1g.10gb@4; get 2:full" {
				t.Fatalf("got %s, %v", told(want), err)
			}
			for i := range h.Claims {
				g := &h.Claims[i].Devices[0]
				g.Slot = slot(g.Slot)
			}
			if got, err := gpu.Repartition(h, wants("1g.10gb full"), p, noon); err != nil || told(got) != told(want) {
				t.Errorf("got %s, %v", told(got), err)
			}
		})
	}
}

func instance(h *gpu.Host, c gpu.Card, word string) gpu.Instance {
	name, at, _ := strings.Cut(strings.TrimRight(word, "!?"), "@")
	start, _ := strconv.Atoi(at)
	p := c.Profiles[slices.IndexFunc(c.Profiles, func(p gpu.Profile) bool { return p.Name == name })]
	place := p.Placements[slices.IndexFunc(p.Placements, func(p gpu.Placement) bool { return p.Start == start })]
	in := gpu.Instance{
		UUID: fmt.Sprintf("MIG-%d-%s-%d", c.Index, name, start), Index: len(c.Instances), Profile: name, Slices: p.Slices, SlicesOfCard: 7,
		Start: start, Size: place.Size, MemoryBytes: p.MemoryBytes,
	}
	switch word[len(word)-1] {
	case '!':
		h.Claims = append(h.Claims, gpu.Claim{State: gpu.Running, Devices: []gpu.Grant{{UUID: in.UUID, Slot: fmt.Sprintf("%d.%d", c.Index, in.Index)}}})
	case '?':
		h.Taken[in.UUID] = "a stranger"
	}
	return in
}

// told is a plan in short: its steps, then the picks, as CARD:PROFILE@START
// with * for what is made.
func told(p gpu.Plan) string {
	var all []string
	for _, s := range p.Steps {
		text := fmt.Sprintf("%s %d", s.Verb, s.Card)
		if s.Profile != "" {
			text += fmt.Sprintf(":%s@%d", s.Profile, s.At.Start)
		}
		if s.Reset {
			text += " by reset"
		}
		all = append(all, text)
	}
	for _, pick := range p.Picks {
		text := fmt.Sprintf("%d:%s", pick.Card, pick.Profile)
		if pick.Profile != gpu.Full {
			text += fmt.Sprintf("@%d", pick.At.Start)
		}
		if pick.Step >= 0 {
			text += "*"
		}
		all = append(all, "get "+text)
	}
	return strings.Join(all, "; ")
}

// wants reads "1g.10gb 2g.20gb|full": two wants, the second with a choice.
func wants(text string) []gpu.Want {
	var all []gpu.Want
	for w := range strings.FieldsSeq(text) {
		all = append(all, strings.Split(w, "|"))
	}
	return all
}

func TestRepartition(t *testing.T) {
	tests := map[string]struct {
		deck   []string
		change func(h *gpu.Host, p *gpu.Policy)
		wants  string
		plan   string
		why    string
	}{
		"nothing asks for nothing":                  {[]string{"on"}, nil, "", "", ""},
		"the first 1g stands at the high end":       {[]string{"on"}, nil, "1g.10gb", "create 0:1g.10gb@6; get 0:1g.10gb@6*", ""},
		"a card in use comes before an empty one":   {[]string{"on", "on 4g.40gb@0!"}, nil, "1g.10gb", "create 1:1g.10gb@6; get 1:1g.10gb@6*", ""},
		"a free instance in the best place is used": {[]string{"on 1g.10gb@6"}, nil, "1g.10gb", "get 0:1g.10gb@6", ""},
		"a free one in a bad place is not":          {[]string{"on 1g.10gb@0"}, nil, "1g.10gb", "create 0:1g.10gb@6; get 0:1g.10gb@6*", ""},
		"as few as can be are folded": {
			[]string{"on 3g.40gb@4! 1g.10gb@0 1g.10gb@1 1g.10gb@3"},
			nil, "2g.20gb",
			"destroy 0:1g.10gb@3; create 0:2g.20gb@2; get 0:2g.20gb@2*", "",
		},
		"one in use isn't":                                  {[]string{"on 1g.10gb@0!"}, nil, "4g.40gb", "", "no room now for 4g.40gb"},
		"a mix stands together":                             {[]string{"on"}, nil, "1g.10gb 4g.40gb 2g.20gb", "create 0:4g.40gb@0; create 0:2g.20gb@4; create 0:1g.10gb@6; get 0:1g.10gb@6*; get 0:4g.40gb@0*; get 0:2g.20gb@4*", ""},
		"all of a mix or none":                              {[]string{"on"}, nil, "4g.40gb 4g.40gb", "", "no room now for 4g.40gb and 4g.40gb"},
		"only one has the media engines":                    {[]string{"on 1g.10gb+me@6!"}, nil, "1g.10gb+me", "", "no room"},
		"the second choice where the first is out":          {[]string{"on 1g.10gb@0!"}, nil, "4g.40gb|3g.40gb", "create 0:3g.40gb@4; get 0:3g.40gb@4*", ""},
		"a profile that no card offers":                     {[]string{"on"}, nil, "1g.5gb", "", "no card of this host offers 1g.5gb"},
		"a stranger closes the card for steps":              {[]string{"on 1g.10gb@6? 1g.10gb@5"}, nil, "2g.20gb", "", "no room"},
		"but not the free instances on it":                  {[]string{"on 1g.10gb@6? 1g.10gb@5"}, nil, "1g.10gb", "get 0:1g.10gb@5", ""},
		"a card with a problem gives nothing":               {[]string{"on 1g.10gb@6"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].Problem = "lost" }, "1g.10gb", "", "no room"},
		"nor does a drained one":                            {[]string{"on 1g.10gb@6"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].Drained = "fan" }, "1g.10gb", "", "no room"},
		"nor one that waits for a reset":                    {[]string{"on"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].MIGWaits = true }, "1g.10gb", "", "no room"},
		"nor one that is taken as a whole":                  {[]string{"on 1g.10gb@6"}, func(h *gpu.Host, _ *gpu.Policy) { h.Taken["GPU-0"] = "x" }, "1g.10gb", "", "no room"},
		"an instance with a problem stays, unused":          {[]string{"on 1g.10gb@6"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].Instances[0].Problem = "x" }, "1g.10gb", "create 0:1g.10gb@5; get 0:1g.10gb@5*", ""},
		"a released claim holds nothing":                    {[]string{"on 1g.10gb@6!"}, func(h *gpu.Host, _ *gpu.Policy) { h.Claims[0].State = gpu.Released }, "7g.80gb", "destroy 0:1g.10gb@6; create 0:7g.80gb@0; get 0:7g.80gb@0*", ""},
		"a layout that isn't the driver's is used as it is": {[]string{"on 1g.10gb@6 1g.10gb@5!"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].Instances[1].Size = 2 }, "1g.10gb", "get 0:1g.10gb@6", ""},
		"and not changed":                                   {[]string{"on 1g.10gb@6 1g.10gb@5!"}, func(h *gpu.Host, _ *gpu.Policy) { h.Cards[0].Instances[1].Size = 2 }, "2g.20gb", "", "no room"},

		"what just became free stays a while": {
			[]string{"on 1g.10gb@0"},
			func(h *gpu.Host, p *gpu.Policy) {
				p.Hysteresis, h.FreedAt["MIG-0-1g.10gb-0"] = time.Minute, noon.Add(-20*time.Second)
			},
			"4g.40gb", "", "an instance that just became free is kept for another 40s",
		},
		"and is used again at once": {
			[]string{"on 4g.40gb@0"},
			func(h *gpu.Host, p *gpu.Policy) {
				p.Hysteresis, h.FreedAt["MIG-0-4g.40gb-0"] = time.Minute, noon.Add(-20*time.Second)
			},
			"4g.40gb", "get 0:4g.40gb@0", "",
		},
		"then it may be folded": {
			[]string{"on 1g.10gb@0"},
			func(h *gpu.Host, p *gpu.Policy) {
				p.Hysteresis, h.FreedAt["MIG-0-1g.10gb-0"] = time.Minute, noon.Add(-time.Minute)
			},
			"4g.40gb", "destroy 0:1g.10gb@0; create 0:4g.40gb@0; get 0:4g.40gb@0*", "",
		},

		"MIG is turned on where no card has room": {[]string{"on 7g.80gb@0!", "off"}, nil, "1g.10gb", "enable MIG 1; create 1:1g.10gb@6; get 1:1g.10gb@6*", ""},
		"but not before there is need":            {[]string{"off", "on 2g.20gb@4! 1g.10gb@6!"}, nil, "1g.10gb", "create 1:1g.10gb@3; get 1:1g.10gb@3*", ""},
		"a reset that isn't ours to do is said":   {[]string{"off reset"}, nil, "1g.10gb", "", "card 0 is free, but its MIG mode changes with a reset only"},
		"one that is belongs to the step":         {[]string{"off reset"}, func(_ *gpu.Host, p *gpu.Policy) { p.CanReset = true }, "1g.10gb", "enable MIG 0 by reset; create 0:1g.10gb@6; get 0:1g.10gb@6*", ""},
		"a card without reset comes first":        {[]string{"off reset", "off"}, func(_ *gpu.Host, p *gpu.Policy) { p.CanReset = true }, "1g.10gb", "enable MIG 1; create 1:1g.10gb@6; get 1:1g.10gb@6*", ""},
		"a held card keeps its mode":              {[]string{"off!"}, nil, "1g.10gb", "", "no room"},

		"a whole card that is one already":     {[]string{"on", "off"}, nil, "full", "get 1:full", ""},
		"MIG is turned off for a whole card":   {[]string{"on 1g.10gb@6", "off!"}, nil, "full", "destroy 0:1g.10gb@6; disable MIG 0; get 0:full*", ""},
		"not while an instance is in use":      {[]string{"on 1g.10gb@6!"}, nil, "full", "", "no room now for full"},
		"a whole card or the largest instance": {[]string{"on reset"}, nil, "full|7g.80gb", "create 0:7g.80gb@0; get 0:7g.80gb@0*", ""},
		"a whole card and an instance":         {[]string{"on", "on 1g.10gb@6!"}, nil, "full 1g.10gb", "disable MIG 0; create 1:1g.10gb@5; get 0:full*; get 1:1g.10gb@5*", ""},

		"what is asked for may be worth a new card": {[]string{"on", "on 2g.20gb@4! 1g.10gb@6!"}, precious4g(0), "1g.10gb", "create 0:1g.10gb@6; get 0:1g.10gb@6*", ""},
		"not one that is to stay whole":             {[]string{"on", "on 2g.20gb@4! 1g.10gb@6!"}, precious4g(1), "1g.10gb", "create 1:1g.10gb@3; get 1:1g.10gb@3*", ""},
		"one in use as a whole stays whole, too":    {[]string{"on", "on 2g.20gb@4! 1g.10gb@6!", "off!"}, precious4g(1), "1g.10gb", "create 0:1g.10gb@6; get 0:1g.10gb@6*", ""},
		"a corner that is spoilt is filled first":   {[]string{"on", "on 1g.10gb@2! 1g.10gb@6!"}, nil, "1g.10gb", "create 1:1g.10gb@3; get 1:1g.10gb@3*", ""},
		"as long as there is another way":           {[]string{"on", "on 1g.10gb@0!"}, func(_ *gpu.Host, p *gpu.Policy) { p.KeepFull = 1 }, "4g.40gb", "create 0:4g.40gb@0; get 0:4g.40gb@0*", ""},

		"static: the best of what is there":         {[]string{"on 1g.10gb@0 1g.10gb@6"}, static(), "1g.10gb", "get 0:1g.10gb@6", ""},
		"static: nothing is made":                   {[]string{"on 1g.10gb@0"}, static(), "2g.20gb", "", "no card of this host offers 2g.20gb"},
		"static: nothing is made where it's in use": {[]string{"on 2g.20gb@0!"}, static(), "2g.20gb", "", "no room"},
		"static: MIG stays on":                      {[]string{"on"}, static(), "full", "", "no room"},
		"off: whole cards only":                     {[]string{"on 1g.10gb@6", "off"}, mode(gpu.MIGOff), "full", "get 1:full", ""},
		"off: no instance":                          {[]string{"on 1g.10gb@6", "off"}, mode(gpu.MIGOff), "1g.10gb", "", "gpu.mig.mode is off"},
		"off: the choice that is left":              {[]string{"on 1g.10gb@6", "off"}, mode(gpu.MIGOff), "1g.10gb|full", "get 1:full", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h, p := deck(t, tt.deck...)
			if tt.change != nil {
				tt.change(&h, &p)
			}
			plan, err := gpu.Repartition(h, wants(tt.wants), p, noon)
			if diff := cmp.Diff(tt.plan, told(plan)); diff != "" {
				t.Error(diff)
			}
			if why := fmt.Sprint(err); (err != nil) != (tt.why != "") || !strings.Contains(why, tt.why) {
				t.Errorf("refused with %q, want %q", why, tt.why)
			}
			if err != nil && !errors.Is(err, problem.ErrExhausted) && !errors.Is(err, problem.ErrInvalid) {
				t.Errorf("of no kind: %v", err)
			}
		})
	}
}

func mode(m gpu.MIGMode) func(*gpu.Host, *gpu.Policy) {
	return func(_ *gpu.Host, p *gpu.Policy) { p.Mode = m }
}

func static() func(*gpu.Host, *gpu.Policy) { return mode(gpu.MIGStatic) }

// precious4g is a site where only a 4g is ever expected.
func precious4g(keepFull int) func(*gpu.Host, *gpu.Policy) {
	return func(h *gpu.Host, p *gpu.Policy) {
		p.KeepFull = keepFull
		p.Tables, _ = gpu.NewTables(h.Cards, gpu.Mix{"4g": 1}) // no error: deck has made them before
	}
}

func TestAPickSaysWhatItIs(t *testing.T) {
	h, p := deck(t, "on 1g.10gb@6", "off")
	plan, err := gpu.Repartition(h, wants("1g.10gb 2g.20gb full"), p, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu.Pick{
		{UUID: "MIG-0-1g.10gb-6", Step: -1, CardUUID: "GPU-0", Profile: "1g.10gb", At: gpu.Placement{Start: 6, Size: 1}, Share: quantity.ShareOf(1, 7), MemoryBytes: 9856 << 20},
		{Step: 0, CardUUID: "GPU-0", Profile: "2g.20gb", At: gpu.Placement{Start: 4, Size: 2}, Share: quantity.ShareOf(2, 7), MemoryBytes: 19968 << 20},
		{UUID: "GPU-1", Step: -1, Card: 1, CardUUID: "GPU-1", Profile: gpu.Full, Share: quantity.FullGPU, MemoryBytes: 80 << 30},
	}
	for i := range plan.Picks {
		plan.Picks[i].Reason = ""
	}
	if diff := cmp.Diff(want, plan.Picks); diff != "" {
		t.Error(diff)
	}
}

func TestOffersAreWhatCanBeHad(t *testing.T) {
	h, p := deck(t, "on 3g.40gb@4!", "off")
	tests := map[gpu.MIGMode]string{
		gpu.MIGDynamic: "1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb", gpu.MIGStatic: "3g.40gb", gpu.MIGOff: "",
	}
	for mode, want := range tests {
		p.Mode = mode
		var got []string
		for _, o := range gpu.Offers(h.Cards, p) {
			got = append(got, o.Profile)
			if o.Slices != int(o.Profile[0]-'0') || o.MemoryBytes < 9<<30 {
				t.Errorf("%+v", o)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", mode, got)
		}
	}
}

func TestTidyFoldsWhatStoodLongEnough(t *testing.T) {
	h, p := deck(t, "on 1g.10gb@6 1g.10gb@5! 1g.10gb@4", "on 1g.10gb@6? 1g.10gb@5", "on 2g.20gb@4")
	p.Hysteresis, h.FreedAt["MIG-0-1g.10gb-4"] = time.Minute, noon.Add(-time.Second)
	if got := told(gpu.Tidy(h, gpu.Keeping{}, p, noon)); got != "destroy 0:1g.10gb@6; destroy 2:2g.20gb@4" {
		t.Error(got)
	}
	kept := gpu.Keep(gpu.Devices(h.Cards), []gpu.Reservation{{UID: 1, Devices: []string{"2.0"}, From: noon.Add(gpu.Notice - time.Hour)}}, noon)
	if got := told(gpu.Tidy(h, kept, p, noon)); got != "destroy 0:1g.10gb@6" {
		t.Errorf("with a reservation: %s", got)
	}
	p.Mode = gpu.MIGStatic
	if got := told(gpu.Tidy(h, gpu.Keeping{}, p, noon)); got != "" {
		t.Errorf("static, and yet %s", got)
	}
}

func TestWholeCardsAreNearOneAnother(t *testing.T) {
	link := func(groups ...[]int) func(h *gpu.Host) {
		return func(h *gpu.Host) {
			for _, group := range groups {
				for _, a := range group {
					for _, b := range group {
						if a != b {
							h.Cards[a].Peers = append(h.Cards[a].Peers, h.Cards[b].UUID)
						}
					}
				}
			}
		}
	}
	nodes := func(of ...int) func(h *gpu.Host) {
		return func(h *gpu.Host) {
			for i, n := range of {
				h.Cards[i].NUMANode = n
			}
		}
	}
	tests := map[string]struct {
		deck  string // a letter for each card
		place []func(h *gpu.Host)
		n     int
		want  string
	}{
		"the first ones where nothing is known": {"....", nil, 2, "0 1"},
		"a pair with NVLink":                    {"....", []func(*gpu.Host){link([]int{1, 3})}, 2, "1 3"},
		"one card leaves pairs whole":           {".....", []func(*gpu.Host){link([]int{0, 1}, []int{3, 4})}, 1, "2"},
		"one NUMA node":                         {"....", []func(*gpu.Host){nodes(0, 1, 1, 0)}, 2, "0 3"},
		"NVLink is worth more than a node":      {"....", []func(*gpu.Host){nodes(0, 0, 1, 1), link([]int{1, 2})}, 2, "1 2"},
		"a pair that is in use is no help":      {".x..", []func(*gpu.Host){link([]int{0, 1}, []int{2, 3})}, 2, "2 3"},
		"three of four islands":                 {"......", []func(*gpu.Host){link([]int{0, 1}, []int{2, 4, 5})}, 3, "2 4 5"},
		"nodes decide where all are linked":     {"....", []func(*gpu.Host){link([]int{0, 1, 2, 3}), nodes(0, 1, 0, 1)}, 2, "0 2"},
		"an unknown node is no node":            {"....", []func(*gpu.Host){nodes(-1, -1, 0, 0)}, 2, "2 3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, letter := range tt.deck {
				lines = append(lines, map[rune]string{'.': "off", 'x': "off!"}[letter])
			}
			h, p := deck(t, lines...)
			for _, place := range tt.place {
				place(&h)
			}
			plan, err := gpu.Repartition(h, slices.Repeat([]gpu.Want{{gpu.Full}}, tt.n), p, noon)
			var got []string
			for _, pick := range plan.Picks {
				got = append(got, strconv.Itoa(pick.Card))
			}
			if strings.Join(got, " ") != tt.want || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// What is refused really can't be: against every way to place the wants on two
// cards beside what is in use.
func TestNoMixIsRefusedThatFits(t *testing.T) {
	for name, profiles := range map[string][]gpu.Profile{"a 3g of four memory slices": a100(4, 8), "a 3g of three": a100(3, 7)} {
		t.Run(name, func(t *testing.T) {
			empty := gpu.Card{UUID: "GPU-0", MIG: true, Profiles: profiles}
			tables, err := gpu.NewTables([]gpu.Card{empty, {UUID: "GPU-1", Profiles: profiles}}, gpu.LabMix())
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				h := gpu.Host{Cards: []gpu.Card{empty, empty}}
				h.Cards[1].UUID, h.Cards[1].Index = "GPU-1", 1
				taken := make([]layout, 2)
				for i := range h.Cards {
					fill(t, &h, i, &taken[i])
				}
				var names []string
				var ask []gpu.Want
				for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(profiles)-1), 1, 4).Draw(t, "wants") {
					names, ask = append(names, profiles[i].Name), append(ask, gpu.Want{profiles[i].Name})
				}
				_, err := gpu.Repartition(h, ask, gpu.Policy{Mode: gpu.MIGDynamic, Tables: tables}, noon)
				if possible := taken[0].hold(profiles, &taken[1], names); possible != (err == nil) {
					t.Fatalf("%v beside %v: possible: %v, got %v", names, taken, possible, err)
				}
			})
		})
	}
}

type layout struct {
	names []string
	at    []gpu.Placement
}

// fill puts instances on a card that may be in use or free.
func fill(t *rapid.T, h *gpu.Host, card int, taken *layout) {
	c := &h.Cards[card]
	var all layout
	for range rapid.IntRange(0, 5).Draw(t, "instances") {
		p := rapid.SampledFrom(c.Profiles).Draw(t, "profile")
		at := rapid.SampledFrom(p.Placements).Draw(t, "place")
		next := layout{append(slices.Clip(all.names), p.Name), append(slices.Clip(all.at), at)}
		if !valid(c.Profiles, next.names, next.at) {
			continue
		}
		all = next
		in := gpu.Instance{UUID: fmt.Sprintf("MIG-%d-%d", card, len(all.at)), Profile: p.Name, Start: at.Start, Size: at.Size, Slices: p.Slices, SlicesOfCard: 7}
		c.Instances = append(slices.Clip(c.Instances), in)
		if rapid.Bool().Draw(t, "in use") {
			h.Claims = append(h.Claims, gpu.Claim{State: gpu.Held, Devices: []gpu.Grant{{UUID: in.UUID}}})
			taken.names, taken.at = append(taken.names, p.Name), append(taken.at, at)
		}
	}
}

// hold tries every place of every want on one card and the other.
func (l *layout) hold(profiles []gpu.Profile, other *layout, names []string) bool {
	if len(names) == 0 {
		return true
	}
	p := profiles[slices.IndexFunc(profiles, func(p gpu.Profile) bool { return p.Name == names[0] })]
	for _, card := range []*layout{l, other} {
		before := *card
		for _, at := range p.Placements {
			card.names, card.at = append(slices.Clip(before.names), p.Name), append(slices.Clip(before.at), at)
			if valid(profiles, card.names, card.at) && l.hold(profiles, other, names[1:]) {
				*card = before
				return true
			}
		}
		*card = before
	}
	return false
}

func TestUnexplainedUse(t *testing.T) {
	h, _ := deck(t, "on 1g.10gb@6! 1g.10gb@5", "off!", "off", "on")
	runs := func(pids ...int) gpu.Reading {
		var r gpu.Reading
		for _, pid := range pids {
			r.Processes = append(r.Processes, gpu.Process{PID: pid})
		}
		return r
	}
	got := gpu.Unexplained(h.Cards, h.Claims, map[string]gpu.Reading{
		"MIG-0-1g.10gb-6": runs(1), "MIG-0-1g.10gb-5": runs(2), "GPU-0": runs(1, 2), "GPU-1": runs(3), "GPU-2": runs(4), "GPU-3": runs(5),
	})
	want := map[string]string{
		"MIG-0-1g.10gb-5": "process 2 uses it, and no claim explains that",
		"GPU-2":           "process 4 uses it, and no claim explains that",
		"GPU-3":           "process 5 uses it, and no claim explains that",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
