package limits

import (
	"fmt"

	"ds01.dev/ds01/internal/quantity"
)

// A Host is what a machine has and can enforce. A zero amount is unknown and
// clamps nothing.
type Host struct {
	CPUs     quantity.CPUs
	Memory   quantity.ByteSize
	Nofile   int64 // the engine's own limit of open files
	CgroupV2 bool
	NoRates  string // why rates of disks can't be held; "": they can
}

// ClampTo returns the limits with those above what the host has lowered to
// it; their source is "host", and their text keeps what was asked for. What
// is unlimited stays unlimited. What the host can't enforce is marked
// inactive. The result's memory_swap keeps its distance from memory.
func (l Limits) ClampTo(h Host) Limits {
	if l.settings == nil {
		return l
	}
	s := *l.settings
	keys := table()
	swap := s[memorySwap].n - s[memory].n
	for _, id := range []keyID{maxCPUs, aggregateCPUs} {
		s[id].clamp(int64(h.CPUs), h.CPUs.String(), keys[id].kind)
	}
	clamped := s[memory].clamp(int64(h.Memory), h.Memory.Rounded(), keys[memory].kind)
	if clamped {
		s[memorySwap].clamp(int64(h.Memory)+swap, h.Memory.Rounded(), keys[memorySwap].kind)
	}
	for _, id := range []keyID{shmSize, aggregateMemory, aggregateMemoryHigh} {
		s[id].clamp(int64(h.Memory), h.Memory.Rounded(), keys[id].kind)
	}
	s[ulimitNofile].clamp(h.Nofile, fmt.Sprint(h.Nofile), keys[ulimitNofile].kind)
	if !h.CgroupV2 {
		s[aggregateMemoryHigh].inactive = "not enforced: this host has cgroup v1"
	}
	if h.NoRates != "" {
		s[ioReadBPS].inactive, s[ioWriteBPS].inactive = "not enforced: "+h.NoRates, "not enforced: "+h.NoRates
	}
	c := s.limits()
	c.Group, c.OtherGroups, c.Override = l.Group, l.OtherGroups, l.Override
	return c
}

// clamp lowers the setting to what the host has, unless that is unknown, and
// reports whether it did.
func (s *setting) clamp(has int64, text string, k kind) bool {
	if has <= 0 || s.unlimited || s.n <= has {
		return false
	}
	s.note = s.describe(k) + ", host has " + text
	s.n = has
	s.source = Source{Rule: "host"}
	return true
}
