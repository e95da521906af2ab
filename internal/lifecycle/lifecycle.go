// Package lifecycle decides what becomes of containers over time: when a
// claim gives its devices back, and which claims came to nothing. It does not
// act.
package lifecycle

import (
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// HoldUntil returns when a container that stopped at finished gives its
// devices back; zero means never by itself.
func HoldUntil(finished time.Time, rule container.QuotaRule) time.Time {
	if rule.HoldAfterStop < 0 {
		return time.Time{}
	}
	return finished.Add(rule.HoldAfterStop)
}

// createdGrace is how long a container that was made but never started keeps
// its devices.
const createdGrace = 30 * time.Minute

// CreatedUntil returns when a container that was made at created and never
// started gives its devices back.
func CreatedUntil(created time.Time) time.Time { return created.Add(createdGrace) }

// PendingGrace is how long a claim without a container is kept: a lost reply
// may still end in a container at the engine.
const PendingGrace = 20 * time.Second

// A Verb is what to do with a container.
type Verb string

// Verbs of a plan.
const (
	Release Verb = "release" // give the devices back, keep the container
	Forget  Verb = "forget"  // no container came of the claim
)

// An Action is one step of a plan with its reason.
type Action struct {
	Claim  string
	Verb   Verb
	Reason string
}

// Plan returns what is due at now, in the order of the records. A container
// that runs is never touched.
func Plan(records []container.Record, now time.Time) []Action {
	var plan []Action
	for _, c := range records {
		if a, due := action(c, now); due {
			plan = append(plan, a)
		}
	}
	return plan
}

// Due returns when Plan has something for a record; the zero time is not before
// something happens to it.
func Due(c container.Record) time.Time {
	switch {
	case c.State == gpu.Pending:
		return c.CreatedAt.Add(PendingGrace)
	case (c.State == gpu.Held || c.State == gpu.Bound) && len(c.Devices) > 0:
		return c.HeldUntil
	}
	return time.Time{}
}

func action(c container.Record, now time.Time) (a Action, due bool) {
	at := Due(c)
	switch {
	case at.IsZero() || now.Before(at):
		return Action{}, false
	case c.State == gpu.Pending:
		return Action{c.ID, Forget, "the engine has no container for it"}, true
	default:
		return Action{c.ID, Release, "held until " + at.UTC().Format(time.RFC3339)}, true
	}
}
