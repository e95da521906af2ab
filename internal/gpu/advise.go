package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// Advise says what somebody should know who was granted these devices for one
// container, "" for nothing: a program sees one MIG instance, whatever it
// holds. It offers what does the work of all of them, as far as the quota
// allows that in their stead.
func Advise(pool Pool, uid int, granted []Device, q Quota) string {
	instances, cards := partition(granted)
	if len(instances) < 2 {
		return ""
	}
	note := fmt.Sprintf("ds01: the container has %d MIG instances. A CUDA program sees one of them, and they have no peer-to-peer: "+
		"run one process for each (docs/users/gpus.md)", len(instances))
	offers := larger(pool, uid, instances, cards, q)
	if len(offers) == 0 {
		return note + "."
	}
	return note + ", or ask for one larger device: " + strings.Join(offers, " or ") + "."
}

// partition returns the instances and the whole cards among devices.
func partition(devices []Device) (instances, cards []*Device) {
	for _, d := range pointers(devices) {
		if d.Profile == Full {
			cards = append(cards, d)
		} else {
			instances = append(instances, d)
		}
	}
	return instances, cards
}

// larger returns the least instance and the least whole card that do the work
// of all the instances, beside the cards, as they are asked for.
func larger(pool Pool, uid int, instances, cards []*Device, q Quota) (offers []string) {
	pool.Claims = slices.DeleteFunc(slices.Clone(pool.Claims), func(c Claim) bool {
		return c.UID == uid && c.State != Released && slices.ContainsFunc(c.Devices, func(g Grant) bool { return g.UUID == instances[0].UUID })
	})
	v := survey(pool, uid, q)
	if v.overCount(1+len(cards)) != nil {
		return nil
	}
	need := share(instances)
	for _, whole := range []bool{false, true} {
		least := smallest(slices.DeleteFunc(slices.Clone(v.usable), func(d *Device) bool {
			kept := slices.ContainsFunc(cards, func(c *Device) bool { return c.UUID == d.UUID })
			return kept || d.Share < need || (d.Profile == Full) != whole
		}), 1)
		if len(least) == 0 || v.fitting(append(least, cards...)) <= len(cards) {
			continue
		}
		free := ""
		if !slices.ContainsFunc(v.free, func(d *Device) bool { return d.Profile == least[0].Profile }) {
			free = " (none is free now)"
		}
		offers = append(offers, "--gpus "+least[0].Profile+free)
	}
	return offers
}
