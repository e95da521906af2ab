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
	signals := []struct {
		name    string
		counts  bool
		reading Reading
		over    bool
		text    string
	}{
		{"GPU", s.Devices, s.GPU, s.GPU.Value >= t.GPU, fmt.Sprintf("GPU %.0f%%", s.GPU.Value)},
		{"terminal", true, s.Terminals, s.Terminals.Value > 0, "a terminal in use"},
		{"CPU", true, s.CPU, s.CPU.Value >= t.CPU, fmt.Sprintf("CPU %.0f%%", s.CPU.Value)},
		{"network", true, s.Network, s.Network.Value >= float64(t.Network), rate("network", s.Network)},
		{"disk", true, s.Disk, s.Disk.Value >= float64(t.Disk), rate("disk", s.Disk)},
	}
	known := false
	for _, x := range signals {
		known = known || x.counts && x.reading.Known
		if x.counts && x.reading.Known && x.over {
			return x.text, true
		}
	}
	for _, x := range signals {
		if x.counts && !x.reading.Known && (!x.reading.Never || !known) {
			return x.name + " not known", true
		}
	}
	return "", false
}

func rate(of string, r Reading) string {
	return fmt.Sprintf("%s %s/min", of, quantity.ByteSize(r.Value))
}
