package lifecycle

import (
	"slices"
	"time"
)

// An Exemption lets a person's containers be, for a reason.
type Exemption struct {
	Login  string
	From   []Cause // idle, runtime or hold
	Reason string
	By     string    // who has granted it
	Until  time.Time // zero: for good
	Made   time.Time
}

// Exempt returns from what a person is exempt at now, and why.
func Exempt(all []Exemption, login string, now time.Time) map[Cause]string {
	var from map[Cause]string
	for _, e := range all {
		if e.Login != login || !e.Until.IsZero() && !now.Before(e.Until) {
			continue
		}
		for _, c := range e.From {
			if from == nil {
				from = map[Cause]string{}
			}
			from[c] = "exempt by " + e.By + ": " + e.Reason
		}
	}
	return from
}

// CanExempt reports whether somebody can be exempt from a cause.
func CanExempt(c Cause) bool { return slices.Contains([]Cause{Idle, Runtime, Hold}, c) }
