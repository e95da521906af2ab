package lifecycle_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

// shortRule is a rule whose times are short, for containers with devices.
func shortRule() lifecycle.Rule {
	to := func(minutes int) quantity.Limit[time.Duration] {
		return quantity.To(time.Duration(minutes) * time.Minute)
	}
	return lifecycle.Rule{
		MaxRuntime: to(1000), IdleTimeout: to(100), ContainerHold: to(30), CreatedTimeout: to(20), KeepAlive: to(50), KeepFor: to(500), Grace: to(10),
		Windows: 3, First: 0.8, Last: 0.95, Demand: 0.5, Thresholds: lifecycle.Thresholds{GPU: 5, CPU: 2, Network: 1 << 20, Disk: 1 << 20},
	}
}

func sample(over time.Duration, gpu float64) *lifecycle.Sample {
	none := lifecycle.Known(0)
	return &lifecycle.Sample{Over: over, Devices: true, GPU: lifecycle.Known(gpu), CPU: none, Network: none, Disk: none, Terminals: none}
}

var started = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

func running(passed time.Duration, gpu float64) lifecycle.Facts {
	return lifecycle.Facts{Phase: lifecycle.Running, Started: started, Passed: passed, Sample: sample(passed, gpu), Holds: true, Live: true, Local: started}
}

// story is a container's life, a pass after another.
type story struct {
	life lifecycle.Life
	rule lifecycle.Rule
	log  []string
	end  lifecycle.Verb
}

// pass returns the verdict, and takes it as carried out.
func (s *story) pass(f lifecycle.Facts) lifecycle.Verdict {
	s.life = s.life.Spend(f, s.rule)
	v := s.life.Judge(s.life.Deadlines(f, s.rule), s.rule)
	switch v.Verb {
	case "":
	case lifecycle.Warn:
		s.life = s.life.Told(v.Deadline.Cause, v.Note)
		s.log = append(s.log, fmt.Sprintf("%s %d at %s", v.Deadline.Cause, v.Note.Stage, v.Deadline.Spent))
	default:
		s.log = append(s.log, fmt.Sprintf("%s for %s at %s", v.Verb, v.Deadline.Cause, v.Deadline.Spent))
		s.end = v.Verb
	}
	return v
}

// spend passes minutes, one after another, until something is done.
func (s *story) spend(minutes int, f func(time.Duration) lifecycle.Facts) {
	for i := 0; i < minutes && s.end == ""; i++ {
		s.pass(f(time.Minute))
	}
}

func idle(passed time.Duration) lifecycle.Facts { return running(passed, 0) }
func busy(passed time.Duration) lifecycle.Facts { return running(passed, 83) }

func phase(p lifecycle.Phase) func(time.Duration) lifecycle.Facts {
	return func(passed time.Duration) lifecycle.Facts {
		return lifecycle.Facts{Phase: p, Started: started, Passed: passed, Local: started}
	}
}

func TestWhatBecomesOfContainers(t *testing.T) {
	with := func(change func(*lifecycle.Facts)) func(time.Duration) lifecycle.Facts {
		return func(passed time.Duration) lifecycle.Facts {
			f := idle(passed)
			change(&f)
			return f
		}
	}
	type part struct {
		minutes int
		f       func(time.Duration) lifecycle.Facts
	}
	type tale struct {
		change func(*lifecycle.Rule)
		life   lifecycle.Life
		parts  []part
		want   string
	}
	// The first pass sees when it was started; then it is in grace for 10 minutes.
	for name, c := range map[string]tale{
		"an idle one is warned twice, then its GPU is taken": {parts: []part{{500, idle}}, want: "[idle 1 at 1h20m0s idle 2 at 1h35m0s take for idle at 1h40m0s]"},
		"where that can't be done it is stopped": {
			parts: []part{{500, with(func(f *lifecycle.Facts) { f.Live = false })}},
			want:  "[idle 1 at 1h20m0s idle 2 at 1h35m0s stop for idle at 1h40m0s]",
		},
		"one that works is let be":  {parts: []part{{790, busy}}, want: "[]"},
		"one that works again":      {parts: []part{{100, idle}, {1, busy}, {99, idle}}, want: "[idle 1 at 1h20m0s idle 1 at 1h20m0s idle 2 at 1h35m0s]"},
		"one inside its grace":      {parts: []part{{11, idle}}, want: "[]"},
		"one for as long as it may": {parts: []part{{2000, busy}}, want: "[runtime 1 at 13h20m0s runtime 2 at 15h50m0s stop for runtime at 16h40m0s]"},
		"one that was put off":      {life: lifecycle.Life{Started: started, Extended: time.Hour}, parts: []part{{2000, busy}}, want: "[runtime 1 at 14h8m0s runtime 2 at 16h47m0s stop for runtime at 17h40m0s]"},
		"one whose owner declared its time": {
			change: func(r *lifecycle.Rule) { r.Declared = 100 * time.Minute }, parts: []part{{2000, busy}},
			want: "[runtime 1 at 1h20m0s runtime 2 at 1h35m0s stop for runtime at 1h40m0s]",
		},
		"one declared to last longer than it may": {
			change: func(r *lifecycle.Rule) { r.Declared = 100 * time.Hour }, parts: []part{{2000, busy}},
			want: "[runtime 1 at 13h20m0s runtime 2 at 15h50m0s stop for runtime at 16h40m0s]",
		},
		"one of somebody exempt who declared its time": {
			change: func(r *lifecycle.Rule) { r.Declared = 100 * time.Minute },
			parts: []part{{2000, func(p time.Duration) lifecycle.Facts {
				f := busy(p)
				f.Exempt = map[lifecycle.Cause]string{lifecycle.Runtime: "x"}
				return f
			}}},
			want: "[runtime 1 at 1h20m0s runtime 2 at 1h35m0s stop for runtime at 1h40m0s]",
		},
		"a protected one": {life: lifecycle.Life{Protected: true}, parts: []part{{3000, idle}}, want: "[]"},
		"one of somebody exempt": {parts: []part{{900, with(func(f *lifecycle.Facts) {
			f.Exempt = map[lifecycle.Cause]string{lifecycle.Idle: "x", lifecycle.Runtime: "x"}
		})}}, want: "[]"},
		"one whose data are missing": {parts: []part{{790, with(func(f *lifecycle.Facts) { f.Sample.CPU = lifecycle.Reading{} })}}, want: "[]"},
		"one that isn't seen":        {parts: []part{{790, with(func(f *lifecycle.Facts) { f.Sample = nil })}}, want: "[]"},
		"one with a keep-alive file": {
			parts: []part{{500, with(func(f *lifecycle.Facts) { f.Alive = true })}},
			want:  "[idle 1 at 1h20m0s idle 2 at 1h35m0s take for idle at 1h40m0s]", // 50 minutes later
		},
		"when devices are scarce": {parts: []part{{500, with(func(f *lifecycle.Facts) { f.Scarce = true })}}, want: "[idle 1 at 40m0s idle 2 at 48m0s take for idle at 51m0s]"},
		"one idle for long when they become scarce": {
			parts: []part{{81, idle}, {100, with(func(f *lifecycle.Facts) { f.Scarce = true })}},
			want:  "[idle 2 at 1h11m0s take for idle at 1h14m0s]", // warned at once, and no sooner than the notice allows
		},
		"one whose own program saves its work": {
			parts: []part{{106, idle}, {10, with(func(f *lifecycle.Facts) { f.Saving, f.Sample = true, sample(f.Passed, 83) })}, {100, idle}},
			want:  "[idle 1 at 1h20m0s idle 2 at 1h35m0s take for idle at 1h40m0s]",
		},
		"one that works while its program saves, and afterwards": {
			parts: []part{{106, idle}, {10, with(func(f *lifecycle.Facts) { f.Saving, f.Sample = true, sample(f.Passed, 83) })}, {500, busy}},
			want:  "[idle 1 at 1h20m0s idle 2 at 1h35m0s]",
		},
		"one in which somebody types meanwhile": {
			parts: []part{{95, idle}, {100, with(func(f *lifecycle.Facts) { f.Saving, f.Sample.Terminals = true, lifecycle.Known(1) })}},
			want:  "[idle 1 at 1h20m0s]",
		},
		"without limits": {change: func(r *lifecycle.Rule) { r.IdleTimeout.Unlimited, r.MaxRuntime.Unlimited = true, true }, parts: []part{{5000, idle}}, want: "[]"},
		"one whose owner is to be warned at the end only": {
			change: func(r *lifecycle.Rule) { r.First, r.Last = 1, 1 }, parts: []part{{500, idle}},
			want: "[idle 2 at 1h40m0s take for idle at 1h41m0s]",
		},
		"when scarce devices leave no time at all": {
			change: func(r *lifecycle.Rule) { r.Demand = 0 }, parts: []part{{500, with(func(f *lifecycle.Facts) { f.Scarce = true })}},
			want: "[idle 2 at 1m0s take for idle at 2m0s]",
		},
		"a stopped one":       {parts: []part{{100, phase(lifecycle.Stopped)}}, want: "[hold 1 at 24m0s hold 2 at 29m0s remove for hold at 31m0s]"},
		"one that is kept":    {life: lifecycle.Life{Kept: true}, parts: []part{{600, phase(lifecycle.Stopped)}}, want: "[hold 1 at 6h40m0s hold 2 at 7h55m0s remove for hold at 8h20m0s]"},
		"one never started":   {parts: []part{{100, phase(lifecycle.Created)}}, want: "[never-started 1 at 16m0s never-started 2 at 19m0s remove for never-started at 20m0s]"},
		"one about to return": {parts: []part{{900, phase(lifecycle.Between)}}, want: "[]"},
		"one that is not to be held at all": {
			change: func(r *lifecycle.Rule) { r.ContainerHold = quantity.To[time.Duration](0) },
			parts:  []part{{1, phase(lifecycle.Stopped)}}, want: "[remove for hold at 0s]",
		},
		"at night": {
			change: func(r *lifecycle.Rule) { r.Calendar = []limits.Hours{{Days: [7]bool{5: true}, Leave: true}} }, // a Friday
			parts:  []part{{790, idle}}, want: "[]",
		},
		"at the weekend": {
			change: func(r *lifecycle.Rule) { r.Calendar = []limits.Hours{{Days: [7]bool{5: true}, Factor: 2}} },
			parts:  []part{{205, idle}}, want: "[idle 1 at 2h40m0s idle 2 at 3h10m0s]",
		},
		"one that is started again by somebody": {
			parts: []part{{100, idle}, {700, func(passed time.Duration) lifecycle.Facts {
				f := busy(passed)
				f.Started = started.Add(time.Hour)
				return f
			}}},
			want: "[idle 1 at 1h20m0s]",
		},
		"one that its restart policy starts again": {
			parts: []part{{500, busy}, {400, func(passed time.Duration) lifecycle.Facts {
				f := busy(passed)
				f.Started, f.Restarts = started.Add(time.Hour), 1
				return f
			}}},
			want: "[runtime 1 at 13h20m0s]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := story{life: c.life, rule: shortRule()}
			if c.change != nil {
				c.change(&s.rule)
			}
			for _, p := range c.parts {
				s.spend(p.minutes, p.f)
			}
			if got := fmt.Sprint(s.log); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// anyFacts draws what a pass may see.
func anyFacts(t *rapid.T) lifecycle.Facts {
	passed := time.Duration(rapid.Int64Range(0, int64(40*time.Minute)).Draw(t, "passed"))
	f := running(passed, rapid.SampledFrom([]float64{0, 0, 0, 4, 83}).Draw(t, "gpu"))
	if rapid.Bool().Draw(t, "more idle") {
		f.Sample = sample(passed, 0)
	}
	switch rapid.IntRange(0, 12).Draw(t, "odd") {
	case 0:
		f.Sample = nil
	case 1:
		f.Sample.CPU = lifecycle.Reading{}
	case 2:
		f.Scarce = true
	case 3:
		f.Alive = true
	case 4:
		f.Phase, f.Sample = lifecycle.Stopped, nil
	case 6:
		f.Saving = true
	case 5:
		f.Started = started.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "again")) * time.Hour)
	}
	f.Live = rapid.Bool().Draw(t, "live")
	return f
}

func TestNothingIsDoneToAContainerThatWorksOrWasNotWarned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := story{rule: shortRule()}
		var warned map[lifecycle.Cause]time.Duration // by the time that counts
		var idleFor time.Duration
		quiet := 0
		var grace time.Duration
		var keptStarted time.Time
		for range rapid.IntRange(1, 60).Draw(t, "passes") {
			f := anyFacts(t)
			switch {
			case f.Phase != lifecycle.Running:
				quiet = 0
			case !f.Started.Equal(keptStarted):
				keptStarted, grace, idleFor, quiet, warned = f.Started, 0, 0, 0, map[lifecycle.Cause]time.Duration{}
			default:
				grace += f.Passed
				if f.Sample == nil || f.Saving { // which says nothing
					break
				}
				idleFor, quiet = idleFor+f.Sample.Over, quiet+1
				if _, works := f.Sample.Busy(s.rule.Thresholds); works {
					idleFor, quiet = 0, 0
					delete(warned, lifecycle.Idle)
				}
			}
			v := s.pass(f)
			d := v.Deadline
			if v.Verb == lifecycle.Warn && v.Note.Stage == 2 {
				if warned == nil {
					warned = map[lifecycle.Cause]time.Duration{}
				}
				warned[d.Cause] = d.Spent
			}
			if v.Verb == "" || v.Verb == lifecycle.Warn {
				continue
			}
			notice := d.Limit - time.Duration(float64(d.Limit)*s.rule.Last)
			at, told := warned[d.Cause]
			if !told || d.Spent-at < notice || d.Spent < d.Limit {
				t.Fatalf("%s for %s at %s of %s, warned at %s (%t)", v.Verb, d.Cause, d.Spent, d.Limit, at, told)
			}
			if d.Cause == lifecycle.Idle && (idleFor < d.Limit || quiet < s.rule.Windows || grace <= s.rule.Grace.Value) {
				t.Fatalf("%s for idleness after %s idle, %d looks, %s since its start", v.Verb, idleFor, quiet, grace)
			}
			return
		}
	})
}

func TestTheClockOnTheWallChangesNothing(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		straight, jumping := story{rule: shortRule()}, story{rule: shortRule()}
		for range rapid.IntRange(1, 60).Draw(t, "passes") {
			f := anyFacts(t)
			straight.pass(f)
			f.Local = started.Add(time.Duration(rapid.Int64().Draw(t, "clock"))).In(berlin)
			jumping.pass(f)
		}
		if a, b := fmt.Sprint(straight.log), fmt.Sprint(jumping.log); a != b {
			t.Fatalf("got %s with a clock that jumps, else %s", b, a)
		}
	})
}

func TestMoreTimeNeverTakesAnythingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, f := shortRule(), idle(time.Minute)
		l := lifecycle.Life{Started: started, Quiet: rapid.IntRange(0, 5).Draw(t, "quiet"), Warned: lifecycle.Notices{
			Idle: lifecycle.Notice{Stage: rapid.IntRange(0, 2).Draw(t, "stage"), At: time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "at"))},
		}}
		l.Ran = time.Duration(rapid.Int64Range(0, int64(20*time.Hour)).Draw(t, "ran"))
		l.Idle = time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "idle"))
		more := l
		more.Idle += time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "more"))
		rank := map[lifecycle.Verb]int{"": 0, lifecycle.Warn: 1, lifecycle.Take: 2, lifecycle.Stop: 2}
		before, after := l.Judge(l.Deadlines(f, rule), rule), more.Judge(more.Deadlines(f, rule), rule)
		if rank[after.Verb] < rank[before.Verb] {
			t.Fatalf("%q after %s idle, %q after %s", before.Verb, l.Idle, after.Verb, more.Idle)
		}
	})
}

func TestJump(t *testing.T) {
	at := func(boot string, steady, wall time.Duration) lifecycle.Beat {
		return lifecycle.Beat{Boot: boot, Steady: steady, Wall: started.Add(wall)}
	}
	for name, c := range map[string]struct {
		last, now lifecycle.Beat
		want      time.Duration
	}{
		"the first":               {lifecycle.Beat{}, at("a", time.Hour, 0), 0},
		"time goes by":            {at("a", time.Hour, 0), at("a", time.Hour+time.Minute, time.Minute), 0},
		"the clock is kept right": {at("a", time.Hour, 0), at("a", time.Hour+time.Minute, time.Minute+time.Second), 0},
		"set an hour on":          {at("a", time.Hour, 0), at("a", time.Hour+time.Minute, time.Hour+time.Minute), time.Hour},
		"set an hour back":        {at("a", time.Hour, 0), at("a", time.Hour+time.Minute, time.Minute-time.Hour), -time.Hour},
		"suspended":               {at("a", time.Hour, 0), at("a", time.Hour+time.Minute, 9*time.Hour), 9*time.Hour - time.Minute},
		"switched off":            {at("a", 90*time.Hour, 0), at("b", time.Minute, 2*time.Hour), 2 * time.Hour},
	} {
		if got := lifecycle.Jump(c.last, c.now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestExemptions(t *testing.T) {
	month := 30 * 24 * time.Hour
	all := []lifecycle.Exemption{
		{Login: "ann", From: []lifecycle.Cause{lifecycle.Idle, lifecycle.Runtime}, Reason: "thesis", By: "root"},
		{Login: "bob", From: []lifecycle.Cause{lifecycle.Idle}, Reason: "course", By: "root", Until: started.Add(month)},
		{Login: "cem", From: []lifecycle.Cause{lifecycle.Idle}, Reason: "old", By: "root", Until: started.Add(-month)},
	}
	for login, want := range map[string]string{
		"ann": "map[idle:exempt by root: thesis runtime:exempt by root: thesis]", "bob": "map[idle:exempt by root: course]", "cem": "map[]", "dan": "map[]",
	} {
		if got := fmt.Sprint(lifecycle.Exempt(all, login, started)); got != want {
			t.Errorf("%s: %s, want %s", login, got, want)
		}
	}
}

func TestRuleOf(t *testing.T) {
	d, _, err := limits.Decode(limits.File{Data: []byte("defaults: {without_gpu: {max_runtime: 9h, container_hold_after_stop: 8h}}")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := d.Resolve(account.Account{Name: "ann"}, started)
	with, without, taken := lifecycle.RuleOf(l, true, true), lifecycle.RuleOf(l, false, false), lifecycle.RuleOf(l, true, false)
	if with.IdleTimeout.Value != 2*time.Hour || with.MaxRuntime.Value != 24*time.Hour || with.ContainerHold.Value != 30*time.Minute || with.Demand != 0.5 {
		t.Errorf("with a GPU: %+v", with)
	}
	if !without.IdleTimeout.Unlimited || without.MaxRuntime.Value != 9*time.Hour || without.ContainerHold.Value != 8*time.Hour || without.Demand != 1 {
		t.Errorf("without one: %+v", without)
	}
	if !taken.IdleTimeout.Unlimited || taken.MaxRuntime.Value != 24*time.Hour {
		t.Errorf("after it was taken: %+v", taken)
	}
}
