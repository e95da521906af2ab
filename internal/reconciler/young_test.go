package reconciler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/reconciler"
)

// looks counts how often the engine was asked for a container.
func (s *scene) looks(id string) int {
	n := 0
	for _, call := range s.engine.Calls() {
		if call == "Inspect "+id {
			n++
		}
	}
	return n
}

// What a start has told isn't asked for: much is gone before anybody could use it.
func TestWhatWasStartedHereIsLookedAtOnceItIsNotYoung(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		id := r.ContainerID
		before := s.looks(id)
		if o, ok := s.Observed(id); !ok || !o.Running() || !o.StartedAt.Equal(time.Now()) || o.PID != 0 {
			t.Errorf("of a young one is known %+v", o)
		}
		time.Sleep(time.Second)
		if o, _ := s.Observed(id); o.PID == 0 || s.looks(id) != before+1 {
			t.Errorf("looked %d times: %+v", s.looks(id)-before, o)
		}
		time.Sleep(time.Hour)
		if n := s.looks(id) - before; n != 1 {
			t.Errorf("looked %d times in an hour", n)
		}
		// Its next run isn't taken for this one.
		s.engine.Exit(id, 0)
		bubble.Wait()
		s.want(t, r.ID, gpu.Held, time.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		if err := s.launcher.Start(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		if o, _ := s.Observed(id); !o.StartedAt.Equal(time.Now()) || o.PID != 0 || o.ExitCode != 0 {
			t.Errorf("of its second run is known %+v", o)
		}
	})
}

func TestWhatEndsYoungIsSeenToEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Exit(r.ContainerID, 3)
		bubble.Wait()
		s.want(t, r.ID, gpu.Held, time.Now().Add(time.Hour))
		if o, _ := s.Observed(r.ContainerID); o.Running() || o.ExitCode != 3 {
			t.Errorf("known of it is %+v", o)
		}
	})
}

// The news of a start and of the end come while somebody looks: one look is for both.
func TestAStartAndAnEndThatAreToldTogether(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r, err := s.create(1, "web")
		if err != nil {
			t.Fatal(err)
		}
		unlock := s.ledger.Lock(r.ContainerID)
		if err := s.launcher.Start(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		s.engine.Exit(r.ContainerID, 3)
		bubble.Wait()
		unlock()
		bubble.Wait()
		s.want(t, r.ID, gpu.Held, time.Now().Add(time.Hour))
	})
}

func TestWhatWasStartedPastDs01IsLookedAtAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		s.engine.Exit(r.ContainerID, 0)
		bubble.Wait()
		before := s.looks(r.ContainerID)
		if err := s.engine.Start(t.Context(), r.ContainerID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		if s.looks(r.ContainerID) == before {
			t.Error("nobody looked")
		}
		s.want(t, r.ID, gpu.Running, time.Time{})
	})
}

// More are started at once than wait to be looked at: a glance finds the others.
func TestACrowdOfYoungOnesIsLookedAt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		time.Sleep(time.Second)
		o, _ := s.Observed(r.ContainerID)
		pid := o.PID
		o.PID = 0
		for n := range 3000 {
			s.Started(container.Observed{ID: fmt.Sprint(n), State: "running"})
		}
		s.Started(o)
		time.Sleep(time.Minute)
		if o, _ := s.Observed(r.ContainerID); o.PID != pid {
			t.Errorf("known of it is %+v", o)
		}
		if views := s.Views(func(container.Record) bool { return true }); !slices.ContainsFunc(views, func(v reconciler.View) bool { return v.Observed.PID == pid }) {
			t.Errorf("shown is %+v", views)
		}
	})
}
