package gpu

import "slices"

// parts returns everything the request asks for, in its order.
func (r Request) parts() []Part {
	if r.Count < 1 {
		return r.Parts
	}
	return append([]Part{{Count: r.Count}}, r.Parts...)
}

// choose returns the least devices that are what the parts ask for, in the
// order of the parts, or fewer where not all parts can be met.
func choose(from []*Device, parts []Part) []*Device {
	if len(parts) == 1 {
		return smallest(fitting(from, parts[0]), parts[0].Count)
	}
	// The sets of devices that can be dealt out to the parts are a transversal
	// matroid: whoever takes the smallest device that can still be added, again
	// and again, ends with the most devices, and of those sets with the least.
	d := deal{parts: parts, hands: make([][]*Device, len(parts))}
	for _, device := range candidates(from, parts) {
		d.take(device, make([]bool, len(parts)))
	}
	for _, hand := range d.hands {
		slices.SortFunc(hand, compare)
	}
	return slices.Concat(d.hands...)
}

// candidates returns, smallest first, the devices that may matter: no part
// needs more than the first few that it takes.
func candidates(from []*Device, parts []Part) []*Device {
	total := Request{Parts: parts}.Devices()
	var all []*Device
	for _, p := range parts {
		all = append(all, smallest(fitting(from, p), total)...)
	}
	slices.SortFunc(all, compare)
	return slices.Compact(all)
}

func fitting(from []*Device, p Part) []*Device {
	if p.alike(Part{}) { // everything fits: no copy
		return from
	}
	var fit []*Device
	for _, d := range from {
		if p.takes(d) {
			fit = append(fit, d)
		}
	}
	return fit
}

// A deal is who of the parts has which devices.
type deal struct {
	parts []Part
	hands [][]*Device // by part
}

// take gives a device to a part that wants it, moving others from part to part
// where that makes room. seen are the parts that were tried.
func (d *deal) take(device *Device, seen []bool) bool {
	for i, p := range d.parts {
		if seen[i] || !p.takes(device) {
			continue
		}
		seen[i] = true
		if len(d.hands[i]) < p.Count {
			d.hands[i] = append(d.hands[i], device)
			return true
		}
		for j, held := range d.hands[i] {
			if d.take(held, seen) {
				d.hands[i][j] = device
				return true
			}
		}
	}
	return false
}
