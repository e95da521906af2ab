package lookout_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lookout"
	"ds01.dev/ds01/internal/quantity"
)

const mib = quantity.ByteSize(1 << 20)

// scene is a host with a container of alice's that runs, and one that doesn't.
type scene struct {
	*lookout.Lookout
	now         time.Time
	own, person lookout.Strain
	host        float64
	gone        bool
	open, looks int // gauges, and at alice's container
	records     []container.Record
	told        []string
	log         strings.Builder
}

type gauge struct {
	*scene
	id string // "": all that is alice's
}

func (g gauge) Strain() (lookout.Strain, error) {
	if g.id == "" {
		return g.person, nil
	}
	if g.looks++; g.gone || g.id != "ca" {
		return lookout.Strain{}, fs.ErrNotExist
	}
	return g.own, nil
}

func (g gauge) Close() error {
	g.open--
	return nil
}

func newScene() *scene {
	s := &scene{now: time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)}
	s.records = []container.Record{
		{Claim: gpu.Claim{ID: "a", Name: "web", UID: 1, ContainerID: "ca", State: gpu.Running}},
		{Claim: gpu.Claim{ID: "b", Name: "old", UID: 1, ContainerID: "cb", State: gpu.Held}},
	}
	s.Lookout = lookout.New(lookout.Parts{
		Records: func() []container.Record { return s.records },
		Container: func(_ int, id string) lookout.Gauge {
			s.open++
			return gauge{s, id}
		},
		Person: func(int) lookout.Gauge {
			s.open++
			return gauge{s, ""}
		},
		Host: func() (float64, error) { return s.host, nil },
		Tell: func(uid int, text string) (int, error) {
			s.told = append(s.told, fmt.Sprint(uid, " ", text))
			return 1, nil
		},
		Log: slog.New(slog.NewTextHandler(&s.log, nil)), Now: func() time.Time { return s.now },
	})
	return s
}

func TestMemoryThatRunsShortIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		strain lookout.Strain
		says   string // "": nothing
	}{
		"half in use":                 {lookout.Strain{Held: 50 * mib, Limit: 100 * mib}, ""},
		"nearly all in use":           {lookout.Strain{Held: 96 * mib, Limit: 100 * mib}, "96MiB of 100MiB of memory are in use and can't be taken back"},
		"just less than nearly all":   {lookout.Strain{Held: 94 * mib, Limit: 100 * mib}, ""},
		"all of a terabyte":           {lookout.Strain{Held: 1 << 40, Limit: 1 << 40}, "1TiB of 1TiB"},
		"much, and no limit":          {lookout.Strain{Held: 1 << 40}, ""},
		"programs that wait for it":   {lookout.Strain{Held: mib, Limit: 100 * mib, Waiting: 34.5}, "programs waited for memory in 34 % of the last ten seconds"},
		"programs that wait a little": {lookout.Strain{Held: mib, Limit: 100 * mib, Waiting: 19.9}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.own = c.strain
			s.Pass(t.Context())
			s.own, s.person = lookout.Strain{}, c.strain
			s.now = s.now.Add(time.Minute)
			s.Pass(t.Context())
			if c.says == "" {
				if len(s.told) > 0 || s.log.Len() > 0 {
					t.Errorf("told %q\n%s", s.told, s.log.String())
				}
				return
			}
			if len(s.told) != 2 || !strings.Contains(s.told[0], "1 ds01: memory runs short for container web: "+c.says) || !strings.Contains(s.told[1], "for your containers together: "+c.says) {
				t.Errorf("told %q", s.told)
			}
			if n := strings.Count(s.log.String(), "memory runs short"); n != 2 {
				t.Errorf("logged %d times:\n%s", n, s.log.String())
			}
		})
	}
}

func TestNobodyIsWarnedMoreOftenThanInTenMinutes(t *testing.T) {
	s := newScene()
	s.own, s.host = lookout.Strain{Held: 99 * mib, Limit: 100 * mib}, 50
	for range 2*60 + 1 { // for twenty minutes
		s.Pass(t.Context())
		s.now = s.now.Add(10 * time.Second)
	}
	if len(s.told) != 3 || strings.Count(s.log.String(), "memory of this host runs short") != 3 {
		t.Errorf("told %d times, and of the host:\n%s", len(s.told), s.log.String())
	}
}

func TestWhatIsHeldBackIsSeenBetweenTwoLooks(t *testing.T) {
	s := newScene()
	for _, step := range []struct {
		strain    lookout.Strain
		throttled float64
	}{
		{lookout.Strain{Periods: 1000, Throttled: 900}, 0}, // when that was nobody knows
		{lookout.Strain{Periods: 1100, Throttled: 925, Peak: mib}, 25},
		{lookout.Strain{Periods: 1100, Throttled: 925}, 0},
		{lookout.Strain{Periods: 10, Throttled: 10}, 0}, // it was started again
		{lookout.Strain{Periods: 20, Throttled: 20}, 100},
	} {
		s.own, s.now = step.strain, s.now.Add(time.Minute)
		s.Pass(t.Context())
		if got := s.Of("a"); got != (lookout.Finding{Peak: step.strain.Peak, Throttled: step.throttled}) {
			t.Errorf("%+v: %+v", step.strain, got)
		}
	}
	if s.open != 2 {
		t.Errorf("%d gauges are open", s.open)
	}
	s.gone, s.now = true, s.now.Add(time.Minute)
	s.Pass(t.Context())
	if s.open != 1 {
		t.Errorf("%d gauges stay open of what is gone", s.open-1)
	}
	s.records = nil
	s.Pass(t.Context())
	if s.open != 0 {
		t.Errorf("%d gauges stay open of somebody who has nothing any more", s.open)
	}
	if s.Of("b") != (lookout.Finding{}) || (*lookout.Lookout)(nil).Of("a") != (lookout.Finding{}) {
		t.Error("something was seen of what doesn't run")
	}
}

// TestContainersAreLookedAtWhenTheirTotalSaysSo: every ten seconds one file of a
// person is read, and those of each of their containers when one may be near its limit.
func TestContainersAreLookedAtWhenTheirTotalSaysSo(t *testing.T) {
	s := newScene()
	s.own = lookout.Strain{Held: 50 * mib, Limit: 100 * mib} // 45 MiB from being near
	s.person = lookout.Strain{Used: 200 * mib}
	for _, step := range []struct {
		what  string
		do    func()
		looks int
	}{
		{"at first", func() {}, 1},
		{"when nothing has changed", func() {}, 0},
		{"when they use a little more", func() { s.person.Used += 44 * mib }, 0},
		{"when one may be near its limit", func() { s.person.Used += mib }, 1},
		{"when they use as much as then", func() {}, 0},
		{"when something waits for memory", func() { s.person.Waiting = 20 }, 1},
		{"when nothing waits any more", func() { s.person.Waiting = 0 }, 0},
		{"when they use less", func() { s.person.Used = mib }, 0},
		{"after thirty seconds", func() { s.now = s.now.Add(15 * time.Second) }, 1},
		{"when the clock was put back", func() { s.now = s.now.Add(-time.Hour) }, 1},
		{"when it was started again", func() { s.gone, s.person.Used = true, 200*mib }, 1},
		{"when it isn't found", func() { s.gone = false }, 1},
	} {
		before := s.looks
		step.do()
		s.now = s.now.Add(5 * time.Second)
		s.Pass(t.Context())
		if got := s.looks - before; got != step.looks {
			t.Errorf("%s it is looked at %d times, not %d", step.what, got, step.looks)
		}
	}
}
