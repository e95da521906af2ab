package lifecycle_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/lifecycle"
)

func policy(text string) container.Restart {
	p, err := container.ParseRestartPolicy(text)
	if err != nil {
		panic(err)
	}
	return container.Restart{Policy: p}
}

func TestStartAgain(t *testing.T) {
	counted := func(r container.Restart, n int) container.Restart { r.Count = n; return r }
	stopped := lifecycle.Halted
	waited := func(r container.Restart, d time.Duration) container.Restart { r.Wait = d; return r }
	const never = -1
	for name, c := range map[string]struct {
		restart container.Restart
		code    int
		ran     time.Duration
		pause   time.Duration
	}{
		"no wish":                                    {container.Restart{}, 1, 0, never},
		"the wish that it stays":                     {policy("no"), 1, 0, never},
		"always, and it ended well":                  {policy("always"), 0, 0, 100 * time.Millisecond},
		"always, and it was stopped":                 {stopped(policy("always")), 137, 0, never},
		"unless stopped, and it failed":              {policy("unless-stopped"), 1, 0, 100 * time.Millisecond},
		"unless stopped, and it was stopped":         {stopped(policy("unless-stopped")), 0, 0, never},
		"on failure, and it ended well":              {policy("on-failure"), 0, 0, never},
		"on failure, and it failed":                  {policy("on-failure"), 3, 0, 100 * time.Millisecond},
		"on failure, and it was stopped":             {stopped(policy("on-failure")), 143, 0, never},
		"on failure, without end":                    {counted(policy("on-failure"), 1000), 1, 0, 100 * time.Millisecond},
		"on failure, once more":                      {counted(policy("on-failure:3"), 2), 1, 0, 100 * time.Millisecond},
		"on failure, often enough":                   {counted(policy("on-failure:3"), 3), 1, time.Hour, never},
		"the pause is doubled":                       {waited(policy("always"), 400*time.Millisecond), 1, 9 * time.Second, 800 * time.Millisecond},
		"the pause is a minute at most":              {waited(policy("always"), 50*time.Second), 1, 0, time.Minute},
		"the pause is the first after ten seconds":   {waited(policy("always"), time.Minute), 1, 10 * time.Second, 100 * time.Millisecond},
		"the pause is the first after a long time":   {waited(policy("on-failure"), time.Minute), 1, time.Hour, 100 * time.Millisecond},
		"the pause is a minute again and once more.": {waited(policy("always"), time.Minute), 1, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			after, d := lifecycle.Ended(c.restart, lifecycle.End{ExitCode: c.code, Ran: c.ran}, noon)
			if d.Reason == "" {
				t.Error("no reason")
			}
			if c.pause == never {
				if !d.At.IsZero() || !after.Due.IsZero() {
					t.Errorf("started at %s: %+v", d.At, after)
				}
				return
			}
			if !d.At.Equal(noon.Add(c.pause)) || !after.Due.Equal(d.At) || after.Wait != c.pause {
				t.Errorf("after %s: %+v", d.At.Sub(noon), after)
			}
		})
	}
}

func TestStartAtBoot(t *testing.T) {
	for name, c := range map[string]struct {
		restart container.Restart
		code    int
		start   bool
	}{
		"no wish":                                  {container.Restart{}, 1, false},
		"always":                                   {policy("always"), 0, true},
		"always, although it was stopped":          {lifecycle.Halted(policy("always")), 0, true},
		"unless stopped":                           {policy("unless-stopped"), 0, true},
		"unless stopped, and it was stopped":       {lifecycle.Halted(policy("unless-stopped")), 0, false},
		"on failure, and it failed":                {policy("on-failure:2"), 255, true},
		"on failure, and it ended well":            {policy("on-failure:2"), 0, false},
		"on failure, and it failed, but by a stop": {lifecycle.Halted(policy("on-failure")), 137, false},
	} {
		t.Run(name, func(t *testing.T) {
			after, d := lifecycle.Booted(c.restart, lifecycle.End{ExitCode: c.code}, noon)
			if d.At.Equal(noon) != c.start || !after.Due.Equal(d.At) || d.Reason == "" || c.start && after.Stopped {
				t.Errorf("%+v: %+v", d, after)
			}
		})
	}
	waiting := policy("always")
	waiting.Due, waiting.Wait = noon.Add(time.Minute), time.Minute
	if after, d := lifecycle.Booted(waiting, lifecycle.End{}, noon); after != waiting || !d.At.Equal(waiting.Due) {
		t.Errorf("it waits already, and yet: %+v", after)
	}
}

func TestSignals(t *testing.T) {
	for signal, want := range map[string]bool{"": true, "KILL": true, "SIGTERM": true, "9": true, "SIGINT": true, "SIGRTMIN+3": true, "HUP": false, "SIGUSR1": false, "10": false} {
		if got := lifecycle.AsksToEnd(signal); got != want {
			t.Errorf("%q: %t", signal, got)
		}
	}
}

// Whatever happens to a container, it isn't started again after it was stopped
// on purpose until somebody starts it or the host comes up, and never more
// often than its policy says.
func TestRestartsKeepToTheWish(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"", "no", "always", "unless-stopped", "on-failure", "on-failure:1", "on-failure:3"}
		r := policy(rapid.SampledFrom(names).Draw(t, "policy"))
		now, running, started := noon, true, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "milliseconds")) * time.Millisecond)
			switch step := rapid.SampledFrom([]string{"end", "stop", "start", "boot", "due", "due", "no GPU", "killed"}).Draw(t, "step"); {
			case step == "end" && running:
				ran := time.Duration(rapid.IntRange(0, 20).Draw(t, "ran")) * time.Second
				r, _ = lifecycle.Ended(r, lifecycle.End{ExitCode: rapid.IntRange(0, 1).Draw(t, "code"), Ran: ran}, now)
				running = false
			case step == "stop":
				r, running = lifecycle.Halted(r), false
			case step == "start" && !running:
				r, running, started = r.Fresh(), true, 0
			case step == "boot" && !running:
				was := r
				r, _ = lifecycle.Booted(r, lifecycle.End{ExitCode: 1}, now)
				if was.Stopped && !r.Due.IsZero() && r.Policy.Name != container.RestartAlways {
					t.Fatalf("stopped, and at boot: %+v", r)
				}
			case (step == "due" || step == "no GPU" || step == "killed") && !running && !r.Due.IsZero() && !now.Before(r.Due):
				if r.Stopped || !r.Policy.Wanted() {
					t.Fatalf("due although it was stopped, or nobody wished it: %+v", r)
				}
				r = lifecycle.Starting(r, now)
				if step == "no GPU" {
					r = lifecycle.NotStarted(r, "no GPU", now)
					continue
				}
				running, started = step != "killed", started+1 // nobody knows whether it was
			}
			if r.Count != started {
				t.Fatalf("it was started %d times, and %d are counted", started, r.Count)
			}
			if n := r.Policy.MaxRetries; n > 0 && started > n {
				t.Fatalf("started %d times: %+v", started, r)
			}
			if r.Wait > time.Minute || r.Due.After(now.Add(time.Minute)) {
				t.Fatalf("it waits too long: %+v", r)
			}
		}
	})
}
