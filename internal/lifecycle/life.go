package lifecycle

import (
	"time"

	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

// A Life is what is remembered of a container's time, beside its record. Its
// times add up what ds01 has seen go by on a clock that never jumps: a clock that
// is set, a suspended machine and a restart of ds01 shorten nothing.
type Life struct {
	Phase    Phase     `json:"phase,omitempty"`    // at the last pass
	Holds    bool      `json:"holds,omitempty"`    // it had devices then
	Started  time.Time `json:"started,omitzero"`   // by the engine; another one begins Ran anew
	Restarts int       `json:"restarts,omitempty"` // by its restart policy, which begins nothing anew

	Ran       time.Duration `json:"ran,omitempty"`        // since somebody started it
	Idle      time.Duration `json:"idle,omitempty"`       // without work
	Quiet     int           `json:"quiet,omitempty"`      // looks in a row that saw no work
	KeptAlive time.Duration `json:"kept_alive,omitempty"` // without work, and its file asked to let it be
	Stopped   time.Duration `json:"stopped,omitempty"`    // since it ended
	Unstarted time.Duration `json:"unstarted,omitempty"`  // since it was made, and not started

	Doing  string  `json:"doing,omitempty"` // what it worked at when it was last looked at: "GPU 83%"
	Warned Notices `json:"warned,omitzero"` // how far its owner has been told

	Extended  time.Duration `json:"extended,omitempty"`  // by which max_runtime is put off
	Kept      bool          `json:"kept,omitempty"`      // its owner asked to keep it when it stops
	Protected bool          `json:"protected,omitempty"` // an administrator did: nothing is done to it
}

// A Cause is why something is done to a container without anybody asking.
type Cause string

// Causes.
const (
	Idle         Cause = "idle"    // it holds devices, or a place, and does nothing
	Runtime      Cause = "runtime" // it has run for as long as it may
	Hold         Cause = "hold"    // it has been stopped for as long as it may
	NeverStarted Cause = "never-started"
)

// A Notice is the last warning that somebody was given.
type Notice struct {
	Stage int           `json:"stage"` // 1 is the first, 2 the last
	At    time.Duration `json:"at"`    // of the time that counts
}

// Rule is what the limits say of one container's time.
type Rule struct {
	MaxRuntime     quantity.Limit[time.Duration]
	Declared       time.Duration // by its owner, for one run; 0: they didn't
	IdleTimeout    quantity.Limit[time.Duration]
	ContainerHold  quantity.Limit[time.Duration]
	CreatedTimeout quantity.Limit[time.Duration]
	KeepAlive      quantity.Limit[time.Duration]
	KeepFor        quantity.Limit[time.Duration]
	Grace          quantity.Limit[time.Duration]
	Windows        int
	First, Last    float64 // when people are warned, as parts of the time
	Demand         float64 // IdleTimeout is multiplied by it when devices are scarce
	Calendar       []limits.Hours
	Thresholds     Thresholds
}

// RuleOf returns the rule for one container: asks tells that it was made to have
// devices, and holds that it has some.
func RuleOf(l limits.Limits, asks, holds bool) Rule {
	p := l.Policies
	r := Rule{
		MaxRuntime: l.MaxRuntime, IdleTimeout: l.IdleTimeout, ContainerHold: l.ContainerHoldAfterStop,
		CreatedTimeout: p.CreatedTimeout, KeepAlive: p.KeepAlive, KeepFor: l.Keep.Duration, Grace: p.Grace,
		Windows: p.IdleWindow, First: p.FirstWarning, Last: max(p.FirstWarning, p.LastWarning), Demand: p.DemandReduction, Calendar: p.Calendar,
		Thresholds: Thresholds{GPU: p.GPUIdleThreshold, CPU: p.CPUIdleThreshold, Network: rateOf(p.NetworkIdleThreshold), Disk: rateOf(p.DiskIdleThreshold)},
	}
	if !asks {
		r.MaxRuntime, r.ContainerHold = l.WithoutGPU.MaxRuntime, l.WithoutGPU.ContainerHoldAfterStop
	}
	if !holds {
		r.IdleTimeout, r.Demand = l.WithoutGPU.IdleTimeout, 1
	}
	if !p.AutoStopIdle {
		r.IdleTimeout = quantity.None[time.Duration]()
	}
	return r
}

// mostRate is more than anything transfers.
const mostRate = quantity.ByteSize(1) << 60

func rateOf(l quantity.Limit[quantity.ByteSize]) quantity.ByteSize {
	if l.Unlimited {
		return mostRate
	}
	return l.Value
}

// A Phase is where in its time a container is.
type Phase string

// Phases.
const (
	Created Phase = "created" // never started
	Running Phase = "running"
	Stopped Phase = "stopped"
	Between Phase = "between" // it is about to be started again, or isn't whole yet
)

// Facts are what a pass sees of a container.
type Facts struct {
	Phase    Phase
	Started  time.Time
	Restarts int           // by its restart policy, since somebody started it
	Passed   time.Duration // since the pass before, by a clock that never jumps
	Sample   *Sample       // nil: it wasn't looked at twice yet

	Holds  bool             // it has devices
	Live   bool             // they can be taken from it while it runs
	Saving bool             // its own program saves its work because it was warned
	Alive  bool             // its workspace has the file that asks to let it be
	Scarce bool             // few devices are free
	Local  time.Time        // by the clock on the wall, for the calendar
	Exempt map[Cause]string // of what, and why
}

// Spend adds what has gone by since the pass before. It counts where the container
// was in the same phase then: a pass that finds it in another one only begins to.
func (l Life) Spend(f Facts, r Rule) Life {
	switch {
	case f.Phase == Between:
		return l
	case !f.Started.IsZero() && !l.Started.Equal(f.Started):
		return l.begun(f)
	case l.Phase != f.Phase:
		l.Phase, l.Doing, l.Quiet = f.Phase, "", 0
		return l
	}
	switch f.Phase {
	case Created:
		l.Unstarted += f.Passed
	case Stopped:
		l.Stopped += f.Passed
	default:
		l.Ran += f.Passed
		if l.Holds != f.Holds { // Idle was of what it had
			l = l.Bereft()
			l.Holds = f.Holds
		}
		l = l.rest(f, r)
	}
	return l
}

// begun returns the life of a container that was started since the pass before:
// by somebody, which begins it anew, or by its restart policy.
func (l Life) begun(f Facts) Life {
	if f.Restarts <= l.Restarts {
		l = Life{Kept: l.Kept, Protected: l.Protected}
	}
	l.Phase, l.Started, l.Restarts = f.Phase, f.Started, f.Restarts
	l.Stopped, l.Unstarted = 0, 0
	return l.Told(Hold, Notice{}).Told(NeverStarted, Notice{})
}

// rest counts time without work. While a program saves work because it was asked
// to, what is measured says nothing, but for a terminal that somebody types at.
func (l Life) rest(f Facts, r Rule) Life {
	if f.Sample == nil || f.Saving && f.Sample.Terminals.Value == 0 {
		return l
	}
	if at, busy := f.Sample.Busy(r.Thresholds); busy {
		l.Doing, l.Idle, l.Quiet = at, 0, 0
		return l.Told(Idle, Notice{})
	}
	l.Doing = ""
	l.Quiet++
	switch {
	case l.stands(f, r) == "":
		l.Idle += f.Sample.Over
	case f.Alive && l.alive(r):
		l.KeptAlive += f.Sample.Over
	}
	return l
}

// Bereft returns the life after the container's devices were taken: what it holds
// by then has a time of its own.
func (l Life) Bereft() Life {
	l.Idle, l.Quiet = 0, 0
	return l.Told(Idle, Notice{})
}

// Told returns the life after a warning was given; of the zero Notice none was.
func (l Life) Told(c Cause, n Notice) Life {
	*l.Warned.of(c) = n
	return l
}

// Notices are the last warnings, by what they were for.
type Notices struct {
	Idle         Notice `json:"idle,omitzero"`
	Runtime      Notice `json:"runtime,omitzero"`
	Hold         Notice `json:"hold,omitzero"`
	NeverStarted Notice `json:"never_started,omitzero"`
}

func (n *Notices) of(c Cause) *Notice {
	switch c {
	case Idle:
		return &n.Idle
	case Runtime:
		return &n.Runtime
	case Hold:
		return &n.Hold
	default:
		return &n.NeverStarted
	}
}

// alive reports whether a container may still be let be because its file says so.
func (l Life) alive(r Rule) bool { return r.KeepAlive.Unlimited || l.KeptAlive < r.KeepAlive.Value }

// stands returns why no idle time goes by, or "".
func (l Life) stands(f Facts, r Rule) string {
	switch {
	case l.Protected:
		return "protected"
	case f.Exempt[Idle] != "":
		return f.Exempt[Idle]
	case r.Grace.Unlimited || l.Ran <= r.Grace.Value:
		return "just started"
	case f.Alive && l.alive(r):
		return "kept alive by its file"
	case hours(f.Local, r.Calendar).Leave:
		return hours(f.Local, r.Calendar).String()
	}
	return ""
}

// hours returns the first of a calendar that a moment lies in.
func hours(local time.Time, calendar []limits.Hours) limits.Hours {
	for _, h := range calendar {
		if h.Contains(local) {
			return h
		}
	}
	return limits.Hours{Factor: 1}
}
