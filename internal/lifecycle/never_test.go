package lifecycle_test

import (
	"testing"

	"ds01.dev/ds01/internal/lifecycle"
)

func TestAFigureThatAHostNeverHasSaysNothing(t *testing.T) {
	zero, never := lifecycle.Known(0), lifecycle.Never()
	bounds := lifecycle.Thresholds{GPU: 5, CPU: 5, Network: 1, Disk: 1}
	for name, c := range map[string]struct {
		sample lifecycle.Sample
		at     string // "": idle
	}{
		"all is known":                    {lifecycle.Sample{CPU: zero, Network: zero, Disk: zero, Terminals: zero}, ""},
		"the disk never is":               {lifecycle.Sample{CPU: zero, Network: zero, Disk: never, Terminals: zero}, ""},
		"the disk wasn't this time":       {lifecycle.Sample{CPU: zero, Network: zero, Terminals: zero}, "disk not known"},
		"the disk never is, and it works": {lifecycle.Sample{CPU: lifecycle.Known(80), Network: zero, Disk: never, Terminals: zero}, "CPU 80%"},
		"one never is, one wasn't":        {lifecycle.Sample{Network: zero, Disk: never, Terminals: zero}, "CPU not known"},
		"nothing ever is":                 {lifecycle.Sample{CPU: never, Network: never, Disk: never, Terminals: never}, "terminal not known"},
	} {
		if at, busy := c.sample.Busy(bounds); at != c.at || busy != (c.at != "") {
			t.Errorf("%s: %q, %t", name, at, busy)
		}
	}
}
