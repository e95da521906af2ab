package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Hints is whatever in a container's configuration names a GPU. It serves
// containers that ds01 did not make, to count what they may reach as taken.
type Hints struct {
	DeviceIDs []string // of device requests: UUIDs, indices, CDI names
	All       bool     // a request for every device, or privileged
	Count     int      // a request for so many devices that nobody named
	Rules     []string // device cgroup rules, "c 195:0 rwm"
	Paths     []string // device and bind sources
	Visible   []string // values of NVIDIA_VISIBLE_DEVICES
}

// Reaches returns the UUIDs of the devices that the hints name, in the order
// of devices. A count that names none counts as every device: which ones the
// engine chose isn't written anywhere.
func (h Hints) Reaches(devices []Device) []string {
	if h.All || h.Count > 0 {
		return uuids(devices)
	}
	var names []string
	names = append(names, h.DeviceIDs...)
	for _, v := range h.Visible {
		names = append(names, strings.Split(v, ",")...)
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.TrimPrefix(n, "nvidia.com/gpu=") == "all" }) {
		return uuids(devices)
	}
	var reached []string
	for _, d := range devices {
		if h.names(d, names) || h.opens(d) {
			reached = append(reached, d.UUID)
		}
	}
	return reached
}

// names reports whether one of the names means d, or the card d is on.
func (Hints) names(d Device, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		n = strings.TrimPrefix(strings.TrimSpace(n), "nvidia.com/gpu=")
		return n == d.UUID || n == d.Slot || n == strings.Replace(d.Slot, ".", ":", 1) || n == strconv.Itoa(d.Card)
	})
}

// opens reports whether a rule or a path reaches a node of d that no other
// kind of device shares.
func (h Hints) opens(d Device) bool {
	if len(d.Nodes) == 0 {
		return false
	}
	own := d.Nodes[0]
	for _, r := range h.Rules {
		if ruleCovers(r, own) {
			return true
		}
	}
	return slices.ContainsFunc(h.Paths, func(p string) bool {
		return p == "/dev" || strings.HasSuffix(p, "/"+own.Name)
	})
}

// ruleCovers reports whether a device cgroup rule such as "c 195:* rwm" or
// "a" covers the node.
func ruleCovers(rule string, n Node) bool {
	f := strings.Fields(rule)
	if len(f) == 0 || f[0] == "b" {
		return false
	}
	if f[0] == "a" || len(f) < 2 {
		return true
	}
	major, minor, _ := strings.Cut(f[1], ":")
	return (major == "*" || major == fmt.Sprint(n.Major)) && (minor == "*" || minor == fmt.Sprint(n.Minor))
}

func uuids(devices []Device) []string {
	all := make([]string, len(devices))
	for i, d := range devices {
		all[i] = d.UUID
	}
	return all
}
