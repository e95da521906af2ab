package gpu

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// A Drain is an administrator's word that a card isn't to be granted.
type Drain struct {
	Card   string // its UUID
	Reason string // "": none was given
	By     string // login of who said so
	Since  time.Time
}

// String is what a Card's Drained says.
func (d Drain) String() string {
	if d.Reason == "" {
		return "by " + d.By
	}
	return d.Reason + " (by " + d.By + ")"
}

// FindCard finds a card by its UUID or its index. Anything else, a MIG
// instance too, is of kind problem.ErrNotFound.
func FindCard(cards []Card, name string) (Card, error) {
	for _, c := range cards {
		if c.UUID == name || strconv.Itoa(c.Index) == name {
			return c, nil
		}
	}
	why := "this host has no card " + strconv.Quote(name)
	for _, d := range Devices(cards) {
		if d.Instance >= 0 && (d.UUID == name || d.Slot == name) {
			why = name + " is an instance on card " + strconv.Itoa(d.Card) + ", and not a card"
		}
	}
	return Card{}, &problem.Error{
		What: "No card " + name, Why: problem.Because(problem.ErrNotFound, why),
		Next: "Name one by its number or UUID: " + strings.Join(cardNames(cards), ", ") + ".",
	}
}

func cardNames(cards []Card) []string {
	names := make([]string, len(cards))
	for i, c := range cards {
		names[i] = strconv.Itoa(c.Index)
	}
	return names
}

// Trial returns the devices of a request in which an administrator names devices
// of drained cards, and nothing else, to try them: nobody else can have those, so
// no limit and no queue has a say. That nothing else is wrong with them, and that
// nobody holds or uses them, counts as ever. Nil: it is no such request.
func Trial(pool Pool, req Request, q Quota) []Device {
	if !q.NameAny || req.All || req.Count > 0 {
		return nil
	}
	var all []Device
	v := survey(pool, 0, q)
	for _, p := range req.Parts {
		d := v.find(p)
		if p.Device == "" || d == nil || d.DrainedAt.IsZero() || v.inUse(d) ||
			slices.ContainsFunc(all, func(o Device) bool { return o.UUID == d.UUID }) {
			return nil
		}
		all = append(all, *d)
	}
	return all
}

// An Ailment is a device that a claim holds and that would not be granted
// again. That the driver doesn't tell how a device is, is none, nor is a drain
// that was known when it was granted, see Trial.
type Ailment struct {
	Claim  Claim
	Device Device
}

// Ailing returns the ailments of claims, in their order.
func Ailing(devices []Device, claims []Claim) []Ailment {
	ill := map[string]Device{}
	for _, d := range devices {
		if d.Problem != "" && !d.Doubt {
			ill[d.UUID] = d
		}
	}
	var all []Ailment
	for _, c := range claims {
		for _, g := range c.Devices {
			if d, ok := ill[g.UUID]; ok && c.State != Released && !d.onTrial(c) {
				all = append(all, Ailment{c, d})
			}
		}
	}
	return all
}

// onTrial reports whether the claim got the device after its card was drained.
func (d *Device) onTrial(c Claim) bool { return !d.DrainedAt.IsZero() && c.Since.After(d.DrainedAt) }
