package layout_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/problem"
)

// example is in the form of the files that NVIDIA's mig-parted comes with.
const example = `version: v1
mig-configs:
  all-disabled:
    - devices: all
      mig-enabled: false

  all-enabled:
    - devices: all
      mig-enabled: true
      mig-devices: {}

  all-balanced:
    - device-filter: ["0x20B010DE", "0x20B110DE"]
      devices: all
      mig-enabled: true
      mig-devices:
        "1g.5gb": 2
        "2g.10gb": 1

  custom-config:
    - devices: [0,1]
      mig-enabled: false
    - devices: [2]
      mig-enabled: true
      mig-devices:
        "1g.10gb": 7
        "3g.40gb": 0
`

func read(t *testing.T, text string) *layout.File {
	t.Helper()
	f, err := layout.Decode("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFileOfMIGPartedIsRead(t *testing.T) {
	f := read(t, example)
	for name, want := range map[string]gpu.Layout{
		"all-disabled": {{All: true, Source: "f.yaml:4"}},
		"all-enabled":  {{All: true, MIG: true, Instances: map[string]int{}, Source: "f.yaml:8"}},
		"custom-config": {
			{Cards: []int{0, 1}, Source: "f.yaml:21"},
			{Cards: []int{2}, MIG: true, Instances: map[string]int{"1g.10gb": 7}, Source: "f.yaml:23"},
		},
	} {
		got, err := f.Choose(name)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, want := range map[string]string{
		"all-balanced": "f.yaml:13: device-filter is not read",
		"none":         `f.yaml has no configuration "none". It has all-disabled, all-enabled, all-balanced, custom-config.`,
		"":             "f.yaml has several configurations. Choose with --config: all-disabled, ",
	} {
		if _, err := f.Choose(name); !errors.Is(err, problem.ErrInvalid) || !strings.Contains(problem.OneLine(err), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTheOnlyConfigurationNeedsNoName(t *testing.T) {
	got, err := read(t, "version: v1\nmig-configs: {a: [{devices: [0], mig-enabled: false}]}\n").Choose("")
	if err != nil || len(got) != 1 || got[0].MIG {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatIsWrongIsSaidWithFileAndLine(t *testing.T) {
	// part is one part of a configuration, which begins at line 4.
	part := func(lines string) string { return "version: v1\nmig-configs:\n  a:\n" + lines }
	for name, c := range map[string]struct{ text, want string }{
		"an empty file":            {"", "f.yaml:1: the file is empty"},
		"no YAML":                  {"a: [", "f.yaml:1: not YAML"},
		"two documents":            {"version: v1\n---\nversion: v1\n", "f.yaml:2: a second YAML document"},
		"a list":                   {"- a\n", "f.yaml:1: the file must hold 'key: value' lines"},
		"no version":               {"mig-configs: {a: [{devices: all, mig-enabled: false}]}\n", "f.yaml:1: version is missing"},
		"another version":          {"version: v2\nmig-configs: {a: [{devices: all, mig-enabled: false}]}\n", `f.yaml:1: version is "v2"`},
		"no configurations":        {"version: v1\n", "f.yaml:1: mig-configs is missing"},
		"an empty list of them":    {"version: v1\nmig-configs: {}\n", "f.yaml:2: mig-configs has no configuration"},
		"a key of nobody":          {part("    - devices: all\n      mig-enable: true\n"), `f.yaml:5: unknown key "mig-enable" in a; it has device-filter, devices`},
		"a repeated key":           {part("    - devices: all\n      devices: all\n      mig-enabled: true\n"), "f.yaml:5: a repeats devices"},
		"a configuration twice":    {part("    - {devices: all, mig-enabled: false}\n  a: []\n"), "f.yaml:5: mig-configs repeats a"},
		"no devices":               {part("    - mig-enabled: false\n"), "f.yaml:4: devices is missing in a"},
		"no mode":                  {part("    - devices: all\n"), "f.yaml:4: mig-enabled is missing in a"},
		"a mode that is a word":    {part("    - devices: all\n      mig-enabled: perhaps\n"), "f.yaml:5: mig-enabled must be true or false"},
		"a card that is a word":    {part("    - devices: [zero]\n      mig-enabled: false\n"), `f.yaml:4: devices: "zero" is not the number of a card`},
		"a card below none":        {part("    - devices: [-1]\n      mig-enabled: false\n"), `f.yaml:4: devices: "-1" is not`},
		"devices that are a word":  {part("    - devices: some\n      mig-enabled: false\n"), "f.yaml:4: devices must be all, or a list"},
		"a number that is a word":  {part("    - devices: all\n      mig-enabled: true\n      mig-devices: {1g.10gb: many}\n"), `f.yaml:6: mig-devices: 1g.10gb: "many" is not a number`},
		"fewer than none":          {part("    - devices: all\n      mig-enabled: true\n      mig-devices: {1g.10gb: -1}\n"), `f.yaml:6: mig-devices: 1g.10gb: "-1"`},
		"more than any card has":   {part("    - devices: all\n      mig-enabled: true\n      mig-devices: {1g.10gb: 65}\n"), `f.yaml:6: mig-devices: 1g.10gb: "65"`},
		"instances without MIG":    {part("    - devices: all\n      mig-enabled: false\n      mig-devices: {1g.10gb: 1}\n"), "f.yaml:6: mig-devices with mig-enabled: false"},
		"an alias":                 {part("    - &x {devices: all, mig-enabled: false}\n    - *x\n"), "f.yaml:5: anchors, aliases"},
		"a configuration of words": {part("    devices\n"), "f.yaml:4: a must be a list"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := layout.Decode("f.yaml", []byte(c.text))
			if f != nil || !errors.Is(err, problem.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAllThatIsWrongIsSaidTogether(t *testing.T) {
	_, err := layout.Decode("f.yaml", []byte("version: v2\nmig-configs:\n  a:\n    - devices: [x]\n      mig-enabled: no way\n"))
	for _, line := range []string{"f.yaml:1:", "f.yaml:4:", "f.yaml:5:"} {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("%q doesn't say %s", err, line)
		}
	}
}

func TestEncodePutsCardsTogetherThatAreAlike(t *testing.T) {
	one := []gpu.Instance{{Profile: "1g.10gb+me"}, {Profile: "3g.40gb"}, {Profile: "3g.40gb"}}
	for want, cards := range map[string][]gpu.Card{
		"    - devices: [0, 1]\n      mig-enabled: false\n":                    {{Index: 0}, {Index: 1}},
		"    - devices: [0]\n      mig-enabled: true\n      mig-devices: {}\n": {{MIG: true}},
		"    - devices: [0, 2]\n      mig-enabled: false\n    - devices: [1]\n      mig-enabled: true\n      mig-devices:\n        \"1g.10gb+me\": 1\n        \"3g.40gb\": 2\n": {
			{Index: 2}, {Index: 0}, {Index: 1, MIG: true, Instances: one},
		},
	} {
		if diff := cmp.Diff("version: v1\nmig-configs:\n  current:\n"+want, layout.Encode(cards)); diff != "" {
			t.Error(diff)
		}
	}
}

// Whatever is read can be chosen by the names that the refusal of another one
// tells, and is a layout of cards that exist or a refusal.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(example), "custom-config")
	f.Add([]byte("version: v1\nmig-configs: {a: [{devices: [0], mig-enabled: true, mig-devices: {1g.10gb: 1}}]}"), "")
	f.Add([]byte("a: &a [*a]"), "a")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		file, err := layout.Decode("f.yaml", data)
		if err != nil {
			if file != nil || !errors.Is(err, problem.ErrInvalid) || !strings.Contains(err.Error(), "f.yaml:") {
				t.Fatalf("%v, %v", file, err)
			}
			return
		}
		chosen, err := file.Choose(name)
		if err != nil && !errors.Is(err, problem.ErrInvalid) {
			t.Fatal(err)
		}
		for _, cut := range chosen {
			if cut.All == (len(cut.Cards) > 0) || !cut.MIG && len(cut.Instances) > 0 || !strings.HasPrefix(cut.Source, "f.yaml:") {
				t.Fatalf("%+v", cut)
			}
		}
	})
}
