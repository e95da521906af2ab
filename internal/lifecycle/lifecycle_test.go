package lifecycle_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

func claim(state gpu.State, until time.Time) container.Record {
	return container.Record{Claim: gpu.Claim{
		ID: "c", State: state, HeldUntil: until, CreatedAt: noon.Add(-time.Hour), Devices: []gpu.Grant{{UUID: "GPU-0"}},
	}}
}

func TestPlan(t *testing.T) {
	young := claim(gpu.Pending, time.Time{})
	young.CreatedAt = noon.Add(time.Nanosecond - lifecycle.PendingGrace)
	empty := claim(gpu.Held, noon)
	empty.Devices = nil
	for name, c := range map[string]struct {
		record container.Record
		verb   lifecycle.Verb
	}{
		"held, and its time is over":            {claim(gpu.Held, noon.Add(-time.Second)), lifecycle.Release},
		"held until this moment":                {claim(gpu.Held, noon), lifecycle.Release},
		"held a while longer":                   {claim(gpu.Held, noon.Add(time.Nanosecond)), ""},
		"held without an end":                   {claim(gpu.Held, time.Time{}), ""},
		"held without a device":                 {empty, ""},
		"never started, and its time is over":   {claim(gpu.Bound, noon), lifecycle.Release},
		"never started, a while longer":         {claim(gpu.Bound, noon.Add(time.Second)), ""},
		"running, with a time left over":        {claim(gpu.Running, noon.Add(-time.Hour)), ""},
		"released already":                      {claim(gpu.Released, noon.Add(-time.Hour)), ""},
		"without a container, too long":         {claim(gpu.Pending, time.Time{}), lifecycle.Forget},
		"without a container, for a moment yet": {young, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var verb lifecycle.Verb
			plan := lifecycle.Plan([]container.Record{c.record}, noon)
			if len(plan) == 1 {
				verb = plan[0].Verb
				if plan[0].Claim != "c" || plan[0].Reason == "" {
					t.Errorf("got %+v", plan[0])
				}
			}
			if verb != c.verb || len(plan) > 1 {
				t.Errorf("plan is %+v", plan)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	if got := lifecycle.HoldUntil(noon, container.QuotaRule{HoldAfterStop: time.Hour}); !got.Equal(noon.Add(time.Hour)) {
		t.Error(got)
	}
	if got := lifecycle.HoldUntil(noon, container.QuotaRule{}); !got.Equal(noon) {
		t.Errorf("at once: %s", got)
	}
	if got := lifecycle.HoldUntil(noon, container.QuotaRule{HoldAfterStop: -1}); !got.IsZero() {
		t.Errorf("without end: %s", got)
	}
	if got := lifecycle.CreatedUntil(noon); !got.After(noon) {
		t.Error(got)
	}
}

func drawRecords(t *rapid.T) []container.Record {
	states := []gpu.State{gpu.Pending, gpu.Bound, gpu.Running, gpu.Held, gpu.Released}
	moment := rapid.Map(rapid.IntRange(-7200, 7200), func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) })
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) container.Record {
		r := claim(rapid.SampledFrom(states).Draw(t, "state"), moment.Draw(t, "until"))
		r.ID = rapid.StringMatching(`[a-f0-9]{16}`).Draw(t, "id")
		r.CreatedAt = moment.Draw(t, "created")
		if rapid.Bool().Draw(t, "no end") {
			r.HeldUntil = time.Time{}
		}
		return r
	}), 0, 8).Draw(t, "records")
}

// A plan never touches a container that runs, forgets only what has none, and
// once it is carried out there is nothing left to do.
func TestPlanIsSafeAndComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		plan := lifecycle.Plan(records, noon)
		if again := lifecycle.Plan(records, noon); !slices.Equal(plan, again) {
			t.Fatalf("the same question has two answers: %v, %v", plan, again)
		}
		var after []container.Record
		for _, r := range records {
			i := slices.IndexFunc(plan, func(a lifecycle.Action) bool { return a.Claim == r.ID })
			if i < 0 {
				after = append(after, r)
				continue
			}
			switch {
			case r.State == gpu.Running:
				t.Fatalf("it runs: %+v", plan[i])
			case plan[i].Verb == lifecycle.Forget && r.State != gpu.Pending:
				t.Fatalf("it has a container: %+v", plan[i])
			case plan[i].Verb == lifecycle.Release && noon.Before(r.HeldUntil):
				t.Fatalf("it is held until %s: %+v", r.HeldUntil, plan[i])
			case plan[i].Verb == lifecycle.Release:
				r.State, r.HeldUntil = gpu.Released, time.Time{}
				after = append(after, r)
			}
		}
		if rest := lifecycle.Plan(after, noon); len(rest) > 0 {
			t.Fatalf("still to do: %v", rest)
		}
	})
}
