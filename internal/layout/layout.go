// Package layout reads and writes the file in which an administrator declares
// how cards are to be cut, in the format of NVIDIA's mig-parted. It decides
// nothing about a host.
package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A File is every configuration of a layout file.
type File struct {
	name    string
	configs []config
}

type config struct {
	name   string
	layout gpu.Layout
	filter int // line of a device-filter, which names devices as ds01 doesn't know them; 0 = none
}

// names returns the names of the configurations, in the order of the file.
func (f *File) names() []string {
	names := make([]string, len(f.configs))
	for i, c := range f.configs {
		names[i] = c.name
	}
	return names
}

// Choose returns the configuration of that name; "" is the only one there is.
// Errors are of kind problem.ErrInvalid.
func (f *File) Choose(name string) (gpu.Layout, error) {
	refuse := func(why, next string) error {
		return &problem.Error{What: "No MIG layout chosen", Why: problem.Because(problem.ErrInvalid, why), Next: next}
	}
	all := strings.Join(f.names(), ", ")
	if name == "" && len(f.configs) > 1 {
		return nil, refuse(fmt.Sprintf("%s has several configurations", f.name), "Choose with --config: "+all+".")
	}
	at := slices.IndexFunc(f.configs, func(c config) bool { return name == "" || c.name == name })
	if at < 0 {
		return nil, refuse(fmt.Sprintf("%s has no configuration %q", f.name, name), "It has "+all+".")
	}
	if c := f.configs[at]; c.filter > 0 {
		return nil, refuse(fmt.Sprintf("%s:%d: device-filter is not read", f.name, c.filter), "Name the cards: devices: [0, 1].")
	}
	return f.configs[at].layout, nil
}

// Current is the name of the configuration that Encode writes.
const Current = "current"

// Encode writes the cards as they are, as a file with one configuration. Cards
// that are alike share a part.
func Encode(cards []gpu.Card) string {
	var b strings.Builder
	b.WriteString("version: v1\nmig-configs:\n  " + Current + ":\n")
	for _, p := range parts(cards) {
		fmt.Fprintf(&b, "    - devices: [%s]\n      mig-enabled: %t\n", strings.Join(p.cards, ", "), p.mig)
		if p.mig && len(p.instances) == 0 {
			b.WriteString("      mig-devices: {}\n")
		} else if p.mig {
			b.WriteString("      mig-devices:\n")
		}
		for _, profile := range slices.Sorted(maps.Keys(p.instances)) {
			fmt.Fprintf(&b, "        %q: %d\n", profile, p.instances[profile])
		}
	}
	return b.String()
}

// A part is cards that are cut alike.
type part struct {
	cards     []string
	mig       bool
	instances map[string]int
}

func parts(cards []gpu.Card) []part {
	var all []part
	for _, c := range slices.SortedFunc(slices.Values(cards), func(a, b gpu.Card) int { return cmp.Compare(a.Index, b.Index) }) {
		instances := map[string]int{}
		for _, in := range c.Instances {
			instances[in.Profile]++
		}
		at := slices.IndexFunc(all, func(p part) bool { return p.mig == c.MIG && maps.Equal(p.instances, instances) })
		if at < 0 {
			at, all = len(all), append(all, part{mig: c.MIG, instances: instances})
		}
		all[at].cards = append(all[at].cards, fmt.Sprint(c.Index))
	}
	return all
}
