package gpu_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/gpu"
)

func TestAStateOfACardIsToldWithWhatHelps(t *testing.T) {
	tests := map[string]struct {
		health    gpu.Health
		why, mend string
	}{
		"nothing bad":                {gpu.Health{Remedy: gpu.RemedyNone}, "", ""},
		"errors of memory":           {gpu.Health{Uncorrectable: 3}, "had 3 errors", "--gpu-reset -i 7"},
		"rows to be replaced":        {gpu.Health{RemapPending: true, Uncorrectable: 1}, "rows of its memory wait", "--gpu-reset -i 7"},
		"pages to be retired":        {gpu.Health{RetirePending: true}, "pages of its memory wait", "--gpu-reset -i 7"},
		"no more rows":               {gpu.Health{RemapFailed: true, Remedy: gpu.RemedyReset}, "can't be replaced any more", "RMA"},
		"the driver wants a reset":   {gpu.Health{Remedy: gpu.RemedyReset}, "it needs a reset", "--gpu-reset -i 7"},
		"the driver wants a reboot":  {gpu.Health{Remedy: gpu.RemedyReboot}, "a reboot of the host", "Reboot the host"},
		"the driver wants a new one": {gpu.Health{Remedy: gpu.RemedyReplace}, "to be replaced", "RMA"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			why, mend := tt.health.Judge(7)
			if (why == "") != (tt.why == "") || (mend == "") != (tt.mend == "") || !strings.Contains(why, tt.why) || !strings.Contains(mend, tt.mend) {
				t.Errorf("got %q, %q", why, mend)
			}
		})
	}
}

// A program can bring these about: nobody must be able to put cards out of use.
func TestWhatAProgramCanDoLeavesTheCardInUse(t *testing.T) {
	for _, xid := range []int{13, 31, 43, 45, 68, 69, 94, 109} {
		if f := (gpu.Fault{XID: xid}); !f.Harmless() {
			t.Errorf("%s", f)
		}
	}
	for _, xid := range []int{46, 48, 54, 62, 64, 74, 79, 95, 119, 120, 140, 143, 0, -1, 4711} {
		if f := (gpu.Fault{XID: xid}); f.Harmless() {
			t.Errorf("%s counts as a program's", f)
		}
	}
}

func TestWhatTheDriverSaysOfACardComesFirst(t *testing.T) {
	cards := []gpu.Card{{UUID: "GPU-0", Problem: "lost", Mend: "Reboot."}}
	faults := []gpu.Record{{Fault: gpu.Fault{Card: "GPU-0", Device: "GPU-0", XID: 79}}}
	gpu.Blame(cards, faults)
	gpu.Blame(cards, faults) // it is said once
	if c := cards[0]; c.Problem != "lost; XID 79: the card has fallen off the bus" || c.Mend != "Reboot." {
		t.Errorf("got %+v", c)
	}
}
