package gpu_test

import (
	"testing"

	"ds01.dev/ds01/internal/gpu"
)

func TestWhatIsLeftOfARequest(t *testing.T) {
	slice, card := gpu.Device{UUID: "MIG-1", Slot: "1.0", Profile: "1g.10gb"}, gpu.Device{UUID: "GPU-0", Slot: "0", Profile: gpu.Full}
	for name, c := range map[string]struct {
		asked string
		lost  gpu.Device
		kept  []gpu.Device
		want  string
	}{
		"one of several of a kind":                 {"2x1g.10gb,full", slice, nil, "1g.10gb,full"},
		"the only one of a kind":                   {"1g.10gb,full", card, nil, "1g.10gb"},
		"one of any kind":                          {"3", slice, nil, "2"},
		"of any kind, where no part is for it":     {"1,full", slice, nil, "full"},
		"the part goes before those of any kind":   {"1,full", card, nil, "1"},
		"of all, the kinds that are left":          {"all", card, []gpu.Device{slice, slice}, "2x1g.10gb"},
		"one named by its slot":                    {"device=0,1.0", card, nil, "1.0"},
		"the last":                                 {"1", card, nil, "0"},
		"what nobody asked for takes nothing away": {"full", slice, nil, "full"},
	} {
		asked, err := gpu.ParseRequest(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := asked.Less(c.lost, c.kept).String(); got != c.want {
			t.Errorf("%s: %s without %s is %s, want %s", name, c.asked, c.lost.Slot, got, c.want)
		}
	}
}

func TestAskingForMore(t *testing.T) {
	for _, c := range [][3]string{{"1", "1", "2"}, {"1g.10gb", "1g.10gb,full", "2x1g.10gb,full"}, {"1", "2g.20gb", "1,2g.20gb"}, {"all", "1", "all"}} {
		a, err1 := gpu.ParseRequest(c[0])
		b, err2 := gpu.ParseRequest(c[1])
		if got := a.And(b).String(); err1 != nil || err2 != nil || got != c[2] {
			t.Errorf("%s and %s is %s, want %s (%v, %v)", c[0], c[1], got, c[2], err1, err2)
		}
	}
}
