package gpu_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

func TestWhoHoldsSeveralInstancesIsToldWhatAProgramSees(t *testing.T) {
	host := gpu.Devices([]gpu.Card{card(0), card(1, "3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"), card(2, "4g.40gb")})
	for name, c := range map[string]struct {
		granted string
		quota   gpu.Quota
		taken   string // by bob
		more    string // alice's other
		want    string // of the offers; "-": no note
	}{
		"one instance":                  {granted: "1.2", quota: unlimited(), want: "-"},
		"one instance and a card":       {granted: "1.2 0", quota: unlimited(), want: "-"},
		"two instances":                 {granted: "1.2 1.3", quota: unlimited(), want: "--gpus 2g.20gb or --gpus full."},
		"whole cards not allowed":       {granted: "1.2 1.3", quota: quota(2, 2, false), want: "--gpus 2g.20gb."},
		"the larger one is held":        {granted: "1.2 1.3", quota: quota(2, 2, false), taken: "1.1", want: "--gpus 2g.20gb (none is free now)."},
		"all that is left is a card":    {granted: "1.0 2.0", quota: unlimited(), want: "--gpus full."},
		"nothing larger is allowed":     {granted: "1.0 2.0", quota: quota(2, 2, false), want: ""},
		"two instances beside a card":   {granted: "0 1.2 1.3", quota: unlimited(), want: "--gpus 2g.20gb."},
		"a share that the card uses up": {granted: "0 1.1 1.3", quota: withShare(unlimited(), quantity.FullGPU+quantity.ShareOf(3, 7)), want: "--gpus 3g.40gb."},
		"three, that make a 4g":         {granted: "1.1 1.2 1.3", quota: quota(3, 3, false), want: "--gpus 4g.40gb."},
		"a share that holds just these": {granted: "1.2 1.3", quota: withShare(unlimited(), quantity.ShareOf(2, 7)), want: "--gpus 2g.20gb."},
		"a share that others use up":    {granted: "1.2 1.3", quota: withShare(unlimited(), quantity.ShareOf(5, 7)), more: "1.0", want: "--gpus 2g.20gb."},
		"a count that is just enough":   {granted: "1.2 1.3", quota: quota(3, 2, false), more: "1.0", want: "--gpus 2g.20gb."},
	} {
		grant := hold(host, alice, gpu.Pending, strings.Fields(c.granted)...)
		pool := gpu.Pool{Devices: host, Claims: []gpu.Claim{hold(host, bob, gpu.Running, strings.Fields(c.taken)...), hold(host, alice, gpu.Running, strings.Fields(c.more)...)}}
		var granted []gpu.Device
		for slot := range strings.FieldsSeq(c.granted) {
			for _, d := range host {
				if d.Slot == slot {
					granted = append(granted, d)
				}
			}
		}
		for _, claims := range [][]gpu.Claim{pool.Claims, append([]gpu.Claim{grant}, pool.Claims...)} {
			got := gpu.Advise(gpu.Pool{Devices: host, Claims: claims}, alice, granted, c.quota)
			_, offer, offered := strings.Cut(got, "one larger device: ")
			switch {
			case c.want == "-" && got != "", c.want != "-" && !strings.Contains(got, "sees one of them, and they have no peer-to-peer"):
				t.Errorf("%s: %q", name, got)
			case c.want != "-" && offer != c.want, offered && c.want == "":
				t.Errorf("%s: offers %q, want %q", name, offer, c.want)
			}
		}
	}
}
