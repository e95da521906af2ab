// Package gpu decides which device a claim gets. It knows devices, shares and
// claims as plain values; it does not speak to a driver or a store.
package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A Card is one physical GPU as the driver reports it.
type Card struct {
	UUID        string // "GPU-…"
	Index       int    // the driver's index, 0-based
	Model       string // "NVIDIA A100-SXM4-80GB"
	MemoryBytes int64
	MIG         bool       // MIG mode is on: the card itself can't be granted
	MIGWaits    bool       // a change of the MIG mode waits for a reset of the card
	MIGResets   bool       // the MIG mode changes with a reset of the card only, which the driver may not manage by itself
	Profiles    []Profile  // MIG profiles it offers; empty without MIG, on some drivers also when MIG is off
	Instances   []Instance // MIG instances; empty when MIG is off
	NUMANode    int        // of the processors next to it, -1 = unknown
	Peers       []string   // UUIDs of the cards that NVLink connects it with, directly or by switches
	Nodes       []Node     // device nodes that open the whole card
	Health      Health     // what Problem says of it, and more
	Problem     string     // why the card can't be granted ("" = healthy)
	Mend        string     // what an administrator does about the problem, a sentence ("" = nothing is known)
	Doubt       bool       // the problem is only that the driver doesn't tell how it is
	Drained     string     // why an admin keeps it from being granted ("" = not drained)
	DrainedAt   time.Time  // when that was said
}

// unfit says why neither the card nor an instance on it can be granted, or "",
// and what an administrator does about it.
func (c *Card) unfit() (why, mend string) {
	switch {
	case c.Drained == "":
		return c.Problem, c.Mend
	case c.Problem == "":
		return "drained: " + c.Drained, fmt.Sprintf("'ds01 gpu undrain %d' ends that.", c.Index)
	}
	return c.Problem + "; and drained: " + c.Drained, c.Mend
}

// onlyDrained returns when the card was drained, or zero where something else
// keeps what is on it from being granted too.
func (c *Card) onlyDrained(problem string) time.Time {
	if c.Problem != "" || problem != "" {
		return time.Time{}
	}
	return c.DrainedAt
}

// An Instance is one MIG compute instance that fills its GPU instance.
type Instance struct {
	UUID         string // "MIG-…"
	Index        int    // MIG device index on its card, as nvidia-smi -L counts
	Profile      string // "1g.10gb"
	Slices       int    // compute slices of the profile
	SlicesOfCard int    // compute slices of the card's largest profile, 7 on an A100
	Start, Size  int    // placement in memory slices
	MemoryBytes  int64
	Nodes        []Node
	Problem      string // why the instance can't be granted ("" = healthy)
	Mend         string // what an administrator does about it, a sentence
}

// A Node is one character device that a container needs to use a device.
type Node struct {
	Name         string // file name below /dev in the container, "nvidia0"
	Major, Minor uint32
}

// A Device is one thing that can be granted: a whole card or a MIG instance.
type Device struct {
	UUID        string
	Slot        string // "G" for a card, "G.I" for an instance
	Card        int    // index of the card
	Instance    int    // MIG device index, -1 for a whole card
	Model       string // model of the card
	Profile     string // "full" or the MIG profile
	Share       quantity.GPUShare
	MemoryBytes int64
	Nodes       []Node
	Problem     string // why it can't be granted ("" = healthy)
	Mend        string // what an administrator does about it, a sentence ("" = nothing is known)
	Doubt       bool   // nothing is known to be wrong with it: the driver doesn't tell
	// DrainedAt is when an admin took its card out of use, where nothing else
	// keeps it from being granted. Zero: that isn't so.
	DrainedAt time.Time
}

// Full is the Profile of a whole card.
const Full = "full"

// Devices returns what can be granted on the cards: the card itself where MIG
// is off, else its instances. The order is card index, then instance index.
func Devices(cards []Card) []Device {
	var all []Device
	for _, c := range cards {
		why, mend := c.unfit()
		if !c.MIG {
			all = append(all, Device{
				UUID: c.UUID, Slot: strconv.Itoa(c.Index), Card: c.Index, Instance: -1, Model: c.Model,
				Profile: Full, Share: quantity.FullGPU, MemoryBytes: c.MemoryBytes, Nodes: c.Nodes, Problem: why, Mend: mend, Doubt: c.Doubt && c.Drained == "",
				DrainedAt: c.onlyDrained(""),
			})
			continue
		}
		for _, i := range c.Instances {
			all = append(all, Device{
				UUID: i.UUID, Slot: strconv.Itoa(c.Index) + "." + strconv.Itoa(i.Index), Card: c.Index, Instance: i.Index,
				Model: c.Model, Profile: i.Profile, Share: quantity.ShareOf(i.Slices, i.SlicesOfCard),
				MemoryBytes: i.MemoryBytes, Nodes: i.Nodes,
				Problem: cmp.Or(why, i.Problem), Mend: cmp.Or(mend, i.Mend), Doubt: c.Doubt && c.Drained == "",
				DrainedAt: c.onlyDrained(i.Problem),
			})
		}
	}
	return all
}

// Nodes returns every node of the devices once: they share control nodes.
func Nodes(devices []Device) []Node {
	var all []Node
	for _, d := range devices {
		for _, n := range d.Nodes {
			if !slices.ContainsFunc(all, func(o Node) bool { return o.Name == n.Name }) {
				all = append(all, n)
			}
		}
	}
	return all
}

// A State is where a claim stands between the request and its end.
type State string

// States of a claim. Pending, Bound, Running and Held keep the devices;
// Released gave them back and its container, if there is one, asks again when
// it is started.
const (
	Pending  State = "pending"  // stored, the engine's answer isn't known yet
	Bound    State = "bound"    // the container exists and was never started
	Running  State = "running"  // the container runs or is about to
	Held     State = "held"     // the container stopped; kept until HeldUntil
	Released State = "released" // the devices are free
)

// A Claim is one container's hold on its owner's quota and on devices. Every
// container has one, also without a GPU.
type Claim struct {
	ID          string // 16 hex digits, in the container's label
	UID         int
	Name        string // the owner's name for the container
	State       State
	Devices     []Grant   // in the order they were granted
	ContainerID string    // "" while pending
	HeldUntil   time.Time // zero: no end
	CreatedAt   time.Time
	Since       time.Time // when it got the devices that it holds; zero: it holds none, or nobody knows
}

// A Grant is one device as a claim holds it.
type Grant struct {
	UUID  string
	Slot  string
	Share quantity.GPUShare
}
