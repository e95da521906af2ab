package enforcer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/enforcer"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
)

const gib = quantity.ByteSize(1 << 30)

// scene is a host with alice's two containers, of which one runs, and bob's.
type scene struct {
	*enforcer.Enforcer
	mu      sync.Mutex                // for who has Run run
	memory  map[int]quantity.ByteSize // each person's limit
	inUse   map[string]limits.Deferral
	errs    map[string]error
	records []container.Record
	done    []string
	told    []string
	events  []event.Event
	log     strings.Builder
	ready   bool
}

// sink keeps what is written down.
type sink struct{ *scene }

func (s sink) Append(e event.Event) (uint64, error) {
	s.events = append(s.events, e)
	return uint64(len(s.events)), nil
}

func (sink) Ready() error { return nil }

func newScene() *scene {
	s := &scene{memory: map[int]quantity.ByteSize{1: gib, 2: gib}, inUse: map[string]limits.Deferral{}, errs: map[string]error{}, ready: true}
	for _, r := range []struct {
		id    string
		uid   int
		state gpu.State
	}{{"a", 1, gpu.Running}, {"b", 1, gpu.Held}, {"c", 2, gpu.Running}} {
		s.records = append(s.records, container.Record{Claim: gpu.Claim{ID: r.id, Name: "web-" + r.id, UID: r.uid, State: r.state, ContainerID: "c" + r.id}, Login: fmt.Sprint("user", r.uid)})
	}
	did := func(what string) (limits.Deferral, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done = append(s.done, what)
		return s.inUse[what], s.errs[what]
	}
	s.Enforcer = enforcer.New(enforcer.Parts{
		Ready: func() bool { return s.ready }, Records: func() []container.Record { return s.records },
		Limits: func(uid int) (limits.Limits, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return limits.Limits{Memory: quantity.To(s.memory[uid])}, s.errs[fmt.Sprint("limits ", uid)]
		},
		Level: func(_ context.Context, uid int, _ limits.Limits) (limits.Deferral, error) {
			return did(fmt.Sprint("level ", uid))
		},
		Fit: func(_ context.Context, claim string) (limits.Deferral, bool, error) {
			d, err := did("fit " + claim)
			return d, err == nil, err
		},
		Tell: func(uid int, text string) (int, error) {
			s.told = append(s.told, fmt.Sprint(uid, " ", text))
			return 1, nil
		},
		Recorder: recorder.New(sink{s}, time.Now, slog.New(slog.DiscardHandler)), Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	return s
}

// pass looks once and wants to see done what was.
func (s *scene) pass(t *testing.T, deferred bool, want ...string) {
	t.Helper()
	s.done = nil
	if got := s.Pass(t.Context()); got != deferred {
		t.Errorf("deferred: %t", got)
	}
	if !slices.Equal(s.done, want) {
		t.Errorf("done: %q, want %q", s.done, want)
	}
}

func TestOnlyWhoseLimitsHaveChangedIsFitted(t *testing.T) {
	s := newScene()
	s.ready = false
	s.pass(t, false)
	s.ready = true
	s.pass(t, false, "level 1", "fit a", "level 2", "fit c")
	s.pass(t, false)
	s.memory[2] = 2 * gib
	s.pass(t, false, "level 2", "fit c")
	s.records[1].State = gpu.Running // it was started
	s.pass(t, false, "fit b")
	s.records[0].Wishes = &container.Wishes{Memory: 1} // it was updated
	s.pass(t, false, "fit a")
	s.records[2].State = gpu.Held
	s.pass(t, false)
	s.records[2].State = gpu.Running
	s.pass(t, false, "level 2", "fit c")
}

func TestWhatIsDeferredIsSaidAndTriedAgain(t *testing.T) {
	s := newScene()
	s.pass(t, false, "level 1", "fit a", "level 2", "fit c")
	s.events = nil
	s.memory[1] = gib / 2
	s.inUse["level 1"], s.inUse["fit a"] = limits.Deferral{Wanted: gib / 2, For: 2 * gib}, limits.Deferral{Wanted: gib / 2, For: gib}
	s.pass(t, true, "level 1", "fit a")
	s.pass(t, true, "level 1", "fit a")
	if d := s.Deferred("a"); d.For != gib || s.Deferred("c") != (limits.Deferral{}) || s.DeferredTotal(1).For != 2*gib {
		t.Errorf("deferred %+v, %+v", d, s.DeferredTotal(1))
	}
	want := []string{
		"1 ds01: the memory of your containers together is to be 512MiB, and more is in use. Nothing is ended: it may be 2GiB for now, and less as less is used.",
		"1 ds01: the memory of container web-a is to be 512MiB, and more is in use. Nothing is ended: it may be 1GiB for now, and less as less is used.",
	}
	if !slices.Equal(s.told, want) {
		t.Errorf("told %q, want %q", s.told, want)
	}
	if len(s.events) != 2 || s.events[1].Action != "limit" || s.events[1].Container != "ca" || s.events[1].Owner != "user1" || s.events[0].Container != "" {
		t.Errorf("written down: %+v", s.events)
	}
	s.inUse["fit a"] = limits.Deferral{}
	s.pass(t, true, "level 1", "fit a")
	delete(s.inUse, "level 1")
	s.pass(t, false, "level 1")
	s.pass(t, false)
	if len(s.told) != 2 || len(s.events) != 4 || !strings.Contains(s.events[2].Why, "is 512MiB now") {
		t.Errorf("told %q, written down %+v", s.told, s.events)
	}
}

func TestWhatFailsIsTriedAgainAndLoggedOnce(t *testing.T) {
	s := newScene()
	s.errs["fit a"], s.errs["limits 2"] = errors.New("broken"), errors.New("nobody knows")
	s.pass(t, false, "level 1", "fit a")
	s.pass(t, false, "fit a")
	if n := strings.Count(s.log.String(), "broken"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, s.log.String())
	}
	clear(s.errs)
	s.pass(t, false, "fit a", "level 2", "fit c")
}

func TestAReloadIsSeenAtOnceAndTheRestInTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := newScene()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		bubble.Wait()
		gets := func(uid int, memory quantity.ByteSize, after time.Duration, wake func()) {
			t.Helper()
			s.mu.Lock()
			before := len(s.done)
			s.memory[uid] = memory
			s.mu.Unlock()
			wake()
			time.Sleep(after)
			bubble.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.done) != before+2 {
				t.Errorf("done %q", s.done)
			}
		}
		gets(1, 2*gib, 0, s.Wake)
		gets(2, 2*gib, 10*time.Second, func() {}) // an override has expired
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestNobodyDefersNothing(t *testing.T) {
	var none *enforcer.Enforcer
	if none.Deferred("a") != (limits.Deferral{}) || none.DeferredTotal(1) != (limits.Deferral{}) {
		t.Error("something is deferred")
	}
}
