package gpu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Stranger is a process on a device that no claim explains.
type Stranger struct {
	Process
	User    string // who it runs as; "": nobody knows
	Command string // "": nobody knows
}

// String names it, "process 4711 (python3) of bob".
func (s Stranger) String() string {
	text := fmt.Sprintf("process %d", s.PID)
	if s.Command != "" {
		text += " (" + s.Command + ")"
	}
	if s.User != "" {
		text += " of " + s.User
	}
	return text
}

// Strangers returns the processes on each device that no claim explains, by
// UUID of the device and then by PID. A claim explains the processes of its own
// container on its own devices only: members returns those of a claim. A process
// on a card with MIG on that none of the card's instances lists may be on any of
// them: it counts for the card and for each of them, unless it is a member of a
// claim of one of them.
func Strangers(cards []Card, claims []Claim, readings map[string]Reading, members func(Claim) map[int]bool) map[string][]Stranger {
	s := strangers{readings: readings, explained: map[string]func() map[int]bool{}, found: map[string][]Stranger{}}
	for _, c := range claims {
		s.explain(c, members)
	}
	for _, c := range cards {
		s.look(c)
	}
	for _, all := range s.found {
		slices.SortFunc(all, func(a, b Stranger) int { return cmp.Compare(a.PID, b.PID) })
	}
	return s.found
}

type strangers struct {
	readings  map[string]Reading
	explained map[string]func() map[int]bool // by UUID of the device
	found     map[string][]Stranger
}

// explain notes what a claim explains. Its members are asked for once, and only
// if something runs where it could explain it.
func (s *strangers) explain(c Claim, members func(Claim) map[int]bool) {
	if c.State == Released {
		return
	}
	var known map[int]bool
	asked := false
	of := func() map[int]bool {
		if !asked {
			known, asked = members(c), true
		}
		return known
	}
	for _, g := range c.Devices {
		s.explained[g.UUID] = of
	}
}

func (s *strangers) look(c Card) {
	listed := map[int]bool{} // on an instance, or of a claim of one
	for _, in := range c.Instances {
		if len(s.readings[c.UUID].Processes) > 0 {
			maps.Copy(listed, s.of(in.UUID))
		}
		for _, p := range s.readings[in.UUID].Processes {
			listed[p.PID] = true
			s.meet(in.UUID, p)
		}
	}
	for _, p := range s.readings[c.UUID].Processes {
		if listed[p.PID] {
			continue
		}
		s.meet(c.UUID, p)
		for _, in := range c.Instances {
			s.meet(in.UUID, p)
		}
	}
}

// of returns the members of the claim that holds a device.
func (s *strangers) of(uuid string) map[int]bool {
	if of, held := s.explained[uuid]; held {
		return of()
	}
	return nil
}

func (s *strangers) meet(uuid string, p Process) {
	if !s.of(uuid)[p.PID] {
		s.found[uuid] = append(s.found[uuid], Stranger{Process: p})
	}
}

// Presence says why a device isn't granted on which there are strangers.
func Presence(all []Stranger) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.String()
	}
	verb := "uses"
	if len(all) > 1 {
		verb = "use"
	}
	return strings.Join(names, ", ") + " " + verb + " it, and no claim explains that"
}
