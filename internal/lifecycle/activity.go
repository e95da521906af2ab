package lifecycle

import (
	"fmt"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A Reading is one figure of a sample. The zero value is one that couldn't be
// had.
type Reading struct {
	Value float64
	Known bool
	Never bool // this host never has such a figure: nothing follows from that
}

// Known returns a figure that was had.
func Known(value float64) Reading { return Reading{Value: value, Known: true} }

// Never returns a figure that this host has of no container, at no time.
func Never() Reading { return Reading{Never: true} }

// A Sample is what a running container did between two looks at it.
type Sample struct {
	Over      time.Duration // how long that was, by a clock that never jumps and stands still in suspend
	Devices   bool          // it holds devices; without any GPU says nothing
	GPU       Reading       // percent of the busiest of its devices
	CPU       Reading       // percent of the processors it may use, on average
	Network   Reading       // bytes per minute, in and out, without its loopback
	Disk      Reading       // bytes per minute, read and written
	Terminals Reading       // terminals in it that somebody typed at
}

// Thresholds say from where on a figure is work.
type Thresholds struct {
	GPU     float64           // percent
	CPU     float64           // percent of what the container may use
	Network quantity.ByteSize // per minute
	Disk    quantity.ByteSize // per minute
}

// Busy reports whether a container worked, and at what: the first of GPU,
// terminals, CPU, network and disk that says so. A figure that is missing counts
// as work, after all that are there: nothing is taken from a container of which
// nobody knows what it does. One that this host never has is left out, or no
// container would ever be idle there; something must be known still.
func (s Sample) Busy(t Thresholds) (at string, busy bool) {
	signals := [...]struct {
		reading Reading
		least   float64
		text    func(float64) string
		name    string
	}{
		{s.GPU, t.GPU, func(v float64) string { return fmt.Sprintf("GPU %.0f%%", v) }, "GPU"},
		{s.Terminals, 1, func(float64) string { return "a terminal in use" }, "terminal"},
		{s.CPU, t.CPU, func(v float64) string { return fmt.Sprintf("CPU %.0f%%", v) }, "CPU"},
		{s.Network, float64(t.Network), func(v float64) string { return rate("network", v) }, "network"},
		{s.Disk, float64(t.Disk), func(v float64) string { return rate("disk", v) }, "disk"},
	}
	all := signals[:]
	if !s.Devices {
		all = all[1:]
	}
	known := false
	for _, x := range all {
		known = known || x.reading.Known
		if x.reading.Known && x.reading.Value >= x.least {
			return x.text(x.reading.Value), true
		}
	}
	for _, x := range all {
		if !x.reading.Known && (!x.reading.Never || !known) {
			return x.name + " not known", true
		}
	}
	return "", false
}

func rate(of string, v float64) string {
	return fmt.Sprintf("%s %s/min", of, quantity.ByteSize(v).Rounded())
}
