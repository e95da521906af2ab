package coroner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/coroner"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

// scene is alice's container web.
type scene struct {
	*coroner.Coroner
	record container.Record
	now    time.Time
	told   []string
	events []event.Event
	gone   bool
	log    strings.Builder
}

type sink struct{ *scene }

func (s sink) Append(e event.Event) (uint64, error) {
	s.events = append(s.events, e)
	return uint64(len(s.events)), nil
}

func (sink) Ready() error { return nil }

func newScene() *scene {
	s := &scene{now: noon, record: container.Record{Claim: gpu.Claim{ID: "claim", Name: "web", UID: 1001, ContainerID: "abc"}, Login: "alice"}}
	clock := func() time.Time { return s.now }
	s.Coroner = coroner.New(coroner.Parts{
		Follow:      func(context.Context, func(coroner.Death)) error { return errors.New("not permitted") },
		ByContainer: func(id string) (container.Record, bool) { return s.record, id == "abc" },
		Groups: func(uid int, id string) (own, person string) {
			return fmt.Sprintf("/ds01/u%d/%s", uid, id), fmt.Sprintf("/ds01/u%d", uid)
		},
		Update: func(_ context.Context, _ string, change func(*container.Record)) error {
			if s.gone {
				return problem.ErrNotFound
			}
			change(&s.record)
			return nil
		},
		Tell: func(uid int, text string) (int, error) {
			s.told = append(s.told, fmt.Sprint(uid, " ", text))
			return 1, nil
		},
		Recorder: recorder.New(sink{s}, clock, slog.New(slog.DiscardHandler)),
		Log:      slog.New(slog.NewTextHandler(&s.log, nil)), Now: clock,
	})
	return s
}

func TestItIsFoundOutWhoseLimitHadBeenReached(t *testing.T) {
	const own = "/ds01/u1001/abc"
	for name, c := range map[string]struct {
		death coroner.Death
		limit string
		why   string
		next  string
	}{
		"the container's": {
			coroner.Death{Limited: own, Group: own, Process: "python3", Limit: 32 << 30, Held: 30 << 30},
			container.LimitOwn,
			"python3 in container web, which held 30GiB, was ended, out of memory: the container had reached its own 32GiB", "--memory",
		},
		"the person's": {
			coroner.Death{Limited: "/ds01/u1001", Group: own, Process: "python3", Limit: 64 << 30},
			container.LimitPerson,
			"python3 in container web was ended, out of memory: your containers together had reached your 64GiB", "stop a container",
		},
		"the host's": {coroner.Death{Group: own, Process: "sh", Held: 5 << 20}, container.LimitHost, "sh in container web, which held 5MiB, was ended, out of memory: this host had none left", "administrators"},
		"one around people's": {
			coroner.Death{Limited: "/ds01", Group: own, Process: "sh", Limit: 1 << 40},
			container.LimitOther,
			"sh in container web was ended, out of memory: a group around people's had reached its 1TiB", "administrators",
		},
		"in a scope of systemd's": {
			coroner.Death{Limited: "/ds01/u1001", Group: "/ds01/u1001/docker-abc.scope", Process: "sh", Limit: 1 << 30},
			container.LimitPerson,
			"sh in container web was ended, out of memory: your containers together had reached your 1GiB", "stop",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.Examine(t.Context(), c.death)
			want := container.Kill{At: noon, Limit: c.limit, Bytes: c.death.Limit, Process: c.death.Process, Held: c.death.Held, Count: 1}
			if s.record.Killed == nil || *s.record.Killed != want {
				t.Fatalf("%+v, want %+v", s.record.Killed, want)
			}
			if got := want.Why("web"); got != c.why || !strings.Contains(want.Next("web"), c.next) {
				t.Errorf("%q %q", got, want.Next("web"))
			}
			if len(s.events) != 1 || s.events[0].Action != "out of memory" || s.events[0].Why != c.why || s.events[0].Container != "abc" || s.events[0].Owner != "alice" {
				t.Errorf("written down: %+v", s.events)
			}
			if want := []string{"1001 ds01: " + c.why + ". " + want.Next("web")}; !slices.Equal(s.told, want) {
				t.Errorf("told %q, want %q", s.told, want)
			}
		})
	}
}

func TestTheOwnerIsToldOnceInAWhile(t *testing.T) {
	s := newScene()
	for _, after := range []time.Duration{0, time.Minute, 9 * time.Minute, 10 * time.Minute, 11 * time.Minute} {
		s.now = noon.Add(after)
		s.Examine(t.Context(), coroner.Death{Group: "/x/abc", Process: "sh"})
	}
	if len(s.told) != 2 || s.record.Killed.Count != 5 || len(s.events) != 5 {
		t.Errorf("told %d times, counted %d, written down %d", len(s.told), s.record.Killed.Count, len(s.events))
	}
}

func TestWhatIsInNoContainerIsNobodys(t *testing.T) {
	s := newScene()
	s.Examine(t.Context(), coroner.Death{Limited: "/system.slice/x", Group: "/system.slice/x", Process: "sh"})
	if s.record.Killed != nil || len(s.events)+len(s.told) > 0 {
		t.Errorf("%+v, %+v, %q", s.record.Killed, s.events, s.told)
	}
}

func TestWhatWentWithItsContainerIsWrittenDownAllTheSame(t *testing.T) {
	s := newScene()
	s.gone = true
	s.Examine(t.Context(), coroner.Death{Group: "/x/abc", Process: "sh"})
	if len(s.events) != 1 || len(s.told) != 1 || strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("%+v, %q\n%s", s.events, s.told, s.log.String())
	}
}

func TestAHostWhoseLogIsClosedSaysSo(t *testing.T) {
	s := newScene()
	if err := s.Run(t.Context()); err != nil || !strings.Contains(s.log.String(), "not permitted") {
		t.Errorf("%v\n%s", err, s.log.String())
	}
}
