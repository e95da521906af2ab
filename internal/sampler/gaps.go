package sampler

import (
	"maps"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/lifecycle"
)

// A Gap is a figure that the last pass couldn't tell of containers.
type Gap struct {
	Figure     string // "GPU", "processor time", "network" or "disk"
	Never      bool   // this host never has it: it is left out, else it counts as work
	Containers int
	Why        string // of one of them, "" where nothing was said
}

// Gaps returns what the last pass couldn't tell, in a fixed order.
func (s *Sampler) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Gap{{Figure: "GPU"}, {Figure: "processor time"}, {Figure: "network"}, {Figure: "disk"}, {Figure: "disk", Never: true}}
	for _, claim := range slices.Sorted(maps.Keys(s.last)) {
		sample := s.last[claim]
		for i, missing := range []bool{
			sample.Devices && gap(sample.GPU), gap(sample.CPU), gap(sample.Network), gap(sample.Disk), sample.Disk.Never,
		} {
			if missing {
				all[i].Containers++
				if err := s.why[claim]; err != nil && !all[i].Never && i > 0 { // the log says what the driver has
					all[i].Why = strings.ReplaceAll(err.Error(), "\n", "; ")
				}
			}
		}
	}
	var found []Gap
	for _, g := range all {
		if g.Containers > 0 {
			found = append(found, g)
		}
	}
	return found
}

func gap(r lifecycle.Reading) bool { return !r.Known && !r.Never }
