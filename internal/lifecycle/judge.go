package lifecycle

import (
	"fmt"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// Further verbs, for containers that were let be for long enough.
const (
	Warn   Verb = "warn"
	Take   Verb = "take"   // its devices, however it runs
	Stop   Verb = "stop"   // it, and take its devices
	Remove Verb = "remove" // it, with what it has written beside its mounts
)

// A Deadline is something that happens to a container in time.
type Deadline struct {
	Cause Cause
	Verb  Verb          // what is done then
	Spent time.Duration // of Limit
	Limit time.Duration
	Waits string // why no time goes by now, or ""
}

// Left returns how much of its time a container has; 0 where it is over.
func (d Deadline) Left() time.Duration { return max(0, d.Limit-d.Spent) }

// Deadlines returns what is to happen to a container if nothing changes, in the order
// in which it would.
func (l Life) Deadlines(f Facts, r Rule) []Deadline {
	if l.Protected {
		return nil
	}
	var deadlines []Deadline
	add := func(c Cause, v Verb, spent time.Duration, limit quantity.Limit[time.Duration], waits string) {
		if why := f.Exempt[c]; !limit.Unlimited && why == "" {
			deadlines = append(deadlines, Deadline{c, v, spent, limit.Value, waits})
		}
	}
	switch f.Phase {
	case Created:
		add(NeverStarted, Remove, l.Unstarted, r.CreatedTimeout, "")
	case Stopped:
		hold := r.ContainerHold
		if l.Kept {
			hold = r.KeepFor
		}
		add(Hold, Remove, l.Stopped, hold, "")
	case Running:
		verb := Stop
		if f.Holds && f.Live {
			verb = Take
		}
		add(Idle, verb, l.Idle, idleTimeout(f, r), l.stands(f, r))
		if limit := l.runtime(f, r); !limit.Unlimited {
			deadlines = append(deadlines, Deadline{Runtime, Stop, l.Ran, limit.Value, ""})
		}
		if len(deadlines) == 2 && deadlines[1].Left() < deadlines[0].Left() {
			deadlines[0], deadlines[1] = deadlines[1], deadlines[0]
		}
	case Between:
	}
	return deadlines
}

// runtime is for how long a container may run: an exemption lifts the limit, and
// not what its owner has declared.
func (l Life) runtime(f Facts, r Rule) quantity.Limit[time.Duration] {
	limit := r.MaxRuntime
	if f.Exempt[Runtime] != "" {
		limit = quantity.None[time.Duration]()
	}
	if r.Declared > 0 && (limit.Unlimited || r.Declared < limit.Value) {
		limit = quantity.To(r.Declared)
	}
	limit.Value += l.Extended
	return limit
}

// idleTimeout is idle_timeout at this hour and with this demand.
func idleTimeout(f Facts, r Rule) quantity.Limit[time.Duration] {
	t := r.IdleTimeout
	factor := 1.0
	if h := hours(f.Local, r.Calendar); !h.Leave {
		factor = h.Factor
	}
	if f.Scarce {
		factor *= r.Demand
	}
	t.Value = time.Duration(float64(t.Value) * factor)
	return t
}

// A Verdict is what a pass does to a container.
type Verdict struct {
	Verb     Verb // "": nothing
	Deadline Deadline
	Note     Notice // of a warning
}

// Judge returns what is to be done to a container now. Nobody loses anything
// unless they were warned for as long as lies between the last warning and the end,
// also where a time has become shorter; and nothing is taken for idleness from a
// container that wasn't seen idle as often in a row as it takes.
func (l Life) Judge(deadlines []Deadline, r Rule) Verdict {
	for _, d := range deadlines {
		if d.Waits != "" || d.Cause == Idle && l.Quiet < r.Windows {
			continue
		}
		if v := l.judge(d, r); v.Verb != "" {
			return v
		}
	}
	return Verdict{}
}

func (l Life) judge(d Deadline, r Rule) Verdict {
	told := *l.Warned.of(d.Cause)
	first, last := part(d.Limit, r.First), part(d.Limit, r.Last)
	atOnce := d.Verb == Remove && d.Limit == 0 // nothing is to be kept for any time
	switch {
	case d.Spent >= d.Limit && (atOnce || told.Stage == 2 && d.Spent-told.At >= d.Limit-last):
		return Verdict{Verb: d.Verb, Deadline: d}
	case d.Spent >= last && told.Stage < 2:
		return Verdict{Verb: Warn, Deadline: d, Note: Notice{Stage: 2, At: d.Spent}}
	case d.Spent >= first && told.Stage < 1:
		return Verdict{Verb: Warn, Deadline: d, Note: Notice{Stage: 1, At: d.Spent}}
	}
	return Verdict{}
}

func part(of time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(of) * fraction)
}

// Why says the reason of a deadline, with its figures.
func (d Deadline) Why() string {
	spent, limit := quantity.FormatDuration(d.Spent.Truncate(time.Second)), quantity.FormatDuration(d.Limit.Truncate(time.Second))
	switch d.Cause {
	case Idle:
		return fmt.Sprintf("idle for %s of %s: no GPU, processor, network or disk work, and no terminal in use", spent, limit)
	case Runtime:
		return fmt.Sprintf("it has run for %s of %s", spent, limit)
	case Hold:
		return fmt.Sprintf("it stopped %s ago and is kept for %s", spent, limit)
	default:
		return fmt.Sprintf("it was made %s ago and never started; such containers go after %s", spent, limit)
	}
}
