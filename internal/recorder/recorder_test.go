package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// memory is a log that may be full.
type memory struct {
	events []event.Event
	full   bool
}

func (m *memory) Ready() error {
	if m.full {
		return problem.Because(problem.ErrUnavailable, "no space left")
	}
	return nil
}

func (m *memory) Append(e event.Event) (uint64, error) {
	if err := m.Ready(); err != nil {
		return 0, err
	}
	m.events = append(m.events, e)
	return uint64(len(m.events)), nil
}

func (m *memory) said() string {
	var words []string
	for _, e := range m.events {
		words = append(words, fmt.Sprintf("%s %s of %d", e.Decision, e.Action, e.Of))
	}
	return strings.Join(words, ", ")
}

func because(kind error) error {
	return &problem.Error{What: "no", Why: problem.Because(kind, "because")}
}

var errCrash = errors.New("it broke")

func TestWhatIsWrittenOfARequest(t *testing.T) {
	before := func(ctx context.Context) { _ = recorder.Before(ctx) }
	neverAsked := func(context.Context) {}
	foreign := func(ctx context.Context) {
		recorder.Note(ctx, func(e *event.Event) { e.OwnerUID = new(int) })
	}
	for name, c := range map[string]struct {
		changes bool
		does    func(context.Context)
		err     error
		want    string
	}{
		"a change that goes well":             {true, before, nil, "allowed stop of 0"},
		"a change that is announced twice":    {true, func(ctx context.Context) { before(ctx); before(ctx) }, nil, "allowed stop of 0"},
		"a change that nobody announced":      {true, neverAsked, nil, "allowed stop of 0"},
		"a change that is refused":            {true, neverAsked, because(problem.ErrDenied), "denied stop of 0"},
		"a change over a limit":               {true, neverAsked, because(problem.ErrLimit), "denied stop of 0"},
		"a change of what isn't there":        {true, neverAsked, because(problem.ErrNotFound), "denied stop of 0"},
		"a change that fails":                 {true, before, errCrash, "allowed stop of 0, failed stop of 1"},
		"a change that the engine refuses":    {true, before, because(problem.ErrConflict), "allowed stop of 0, failed stop of 1"},
		"a change that could not be decided":  {true, neverAsked, errCrash, "failed stop of 0"},
		"a look":                              {false, before, nil, ""},
		"a look that is refused":              {false, neverAsked, because(problem.ErrDenied), "denied stop of 0"},
		"a look at what isn't there":          {false, neverAsked, because(problem.ErrNotFound), ""},
		"a look at what is somebody else's":   {false, foreign, because(problem.ErrNotFound), "denied stop of 0"},
		"a look that fails":                   {false, neverAsked, errCrash, ""},
		"a look while the engine is down":     {false, neverAsked, because(problem.ErrUnavailable), ""},
		"a look that isn't written correctly": {false, neverAsked, because(problem.ErrInvalid), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			r := recorder.New(m, time.Now, slog.New(slog.DiscardHandler))
			entry := r.Entry(event.Event{Action: "stop"}, c.changes, nil)
			ctx, err := entry.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.does(context.WithoutCancel(ctx))
			entry.Finish(c.err, problem.HTTPStatus(c.err))
			if m.said() != c.want {
				t.Errorf("got %q, want %q", m.said(), c.want)
			}
			for _, e := range m.events {
				if (e.Decision == event.Allowed) != (e.Why == "") || (e.Decision == event.Allowed) != (e.Status == 0) || e.Time.IsZero() {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

func TestNothingIsChangedWhereNothingCanBeWritten(t *testing.T) {
	m := &memory{full: true}
	r := recorder.New(m, time.Now, slog.New(slog.DiscardHandler))
	change, look := r.Entry(event.Event{}, true, nil), r.Entry(event.Event{}, false, nil)
	if _, err := change.Begin(t.Context()); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("a change begins: %v", err)
	}
	if _, err := look.Begin(t.Context()); err != nil {
		t.Errorf("a look is refused: %v", err)
	}
	m.full = false
	ctx, err := change.Begin(t.Context())
	m.full = true // now it is full
	if err != nil || !errors.Is(recorder.Before(ctx), problem.ErrUnavailable) {
		t.Error("a change is announced that isn't written")
	}
	m.full = false
	if recorder.Before(ctx) != nil || m.said() != "allowed  of 0" {
		t.Errorf("got %q", m.said())
	}
}

func TestHintsAreLookedForOnlyWhenSomethingIsWritten(t *testing.T) {
	m, looks := &memory{}, 0
	r := recorder.New(m, time.Now, slog.New(slog.DiscardHandler))
	hints := func(e *event.Event) { looks++; e.Exe = "/usr/bin/docker" }
	r.Entry(event.Event{}, false, hints).Finish(nil, 200)
	if looks != 0 {
		t.Error("a look that was allowed took a look at the process")
	}
	r.Entry(event.Event{}, false, hints).Finish(because(problem.ErrDenied), 403)
	if looks != 1 || m.events[0].Exe == "" {
		t.Errorf("%d looks: %+v", looks, m.events)
	}
}

func TestSecretsStayOutOfReasons(t *testing.T) {
	m := &memory{}
	entry := recorder.New(m, time.Now, slog.New(slog.DiscardHandler)).Entry(event.Event{}, true, nil)
	ctx, _ := entry.Begin(t.Context())
	recorder.Hide(ctx, []string{"hunter2", "no"})
	entry.Finish(problem.Because(problem.ErrInvalid, "no good variable TOKEN=hunter2"), 400)
	if got := m.events[0].Why; got != "no good variable TOKEN=…" {
		t.Errorf("got %q", got)
	}
}

func TestARefusalLoopPushesNothingOut(t *testing.T) {
	m, now := &memory{}, time.Unix(0, 0)
	r := recorder.New(m, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	refuse := func(uid, times int) {
		for range times {
			r.Entry(event.Event{UID: uid, Action: "stop"}, true, nil).Finish(because(problem.ErrDenied), 403)
		}
	}
	refuse(1, 1000)
	refuse(2, 1)
	r.Entry(event.Event{UID: 1, Action: "start"}, true, nil).Finish(nil, 200)
	if len(m.events) != 122 {
		t.Fatalf("%d events", len(m.events))
	}
	now = now.Add(time.Minute)
	refuse(1, 1)
	if folded := m.events[122]; folded.Times != 880 || folded.UID != 1 || folded.Decision != event.Denied || len(m.events) != 124 {
		t.Errorf("%d events, %+v", len(m.events), folded)
	}
	refuse(1, 121)
	r.Flush(0)
	if folded := m.events[len(m.events)-1]; folded.Times != 2 {
		t.Errorf("%+v", folded)
	}
}

func TestANilRecorderWritesNothing(t *testing.T) {
	var r *recorder.Recorder
	r.Daemon(event.Event{})
	entry := r.Entry(event.Event{}, true, nil)
	ctx, err := entry.Begin(t.Context())
	if err != nil || recorder.Before(ctx) != nil {
		t.Error(err)
	}
	entry.Note(func(*event.Event) { t.Error("noted") })
	entry.Finish(errCrash, 500)
}
