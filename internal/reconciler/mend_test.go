package reconciler_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
)

// live is what a running container may open.
type live struct {
	launcher.Live // the rest isn't called

	lost    atomic.Bool  // something took the rule away
	refuses atomic.Bool  // it can't be given back
	given   atomic.Int32 // how often it was
}

func (l *live) Lost(int, container.Observed, gpu.Node) (rule, shown bool, err error) {
	return l.lost.Load(), false, nil
}

func (l *live) Restore(context.Context, int, container.Observed, gpu.Node) error {
	if l.refuses.Load() {
		return errors.New("the kernel says no")
	}
	l.given.Add(1)
	l.lost.Store(false)
	return nil
}

func TestWhatARunningContainerLostComesBack(t *testing.T) {
	var told words
	inBubble(t, func(t *testing.T, s *scene) {
		t.Helper()
		s.Tell = func(_ int, text string) (int, error) { told.add(text); return 1, nil }
	}, func(t *testing.T, s *scene) {
		r := s.running(t)
		time.Sleep(time.Minute)
		if s.wrote("mend") || s.live.given.Load() > 0 {
			t.Errorf("nothing was lost: %+v", s.recorded)
		}
		for n := range int32(2) {
			s.live.lost.Store(true)
			time.Sleep(time.Minute)
			bubble.Wait()
			if got := s.live.given.Load(); got != n+1 || len(told.all()) != int(n+1) {
				t.Errorf("lost %d times, given back %d times, told %q", n+1, got, told.all())
			}
		}
		if !s.wrote("mend") || !strings.Contains(told.all()[0], "web had lost GPU 0") {
			t.Errorf("told %q, written down %+v", told.all(), s.recorded)
		}
		s.engine.Exit(r.ContainerID, 0)
		time.Sleep(time.Second)
		s.live.lost.Store(true)
		time.Sleep(time.Minute)
		if got := s.live.given.Load(); got != 2 {
			t.Errorf("a container that has ended is mended: %d", got)
		}
	})
}

func TestWhatCantBeGivenBackIsWrittenDownOnceAndTriedAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		s.running(t)
		s.live.refuses.Store(true)
		s.live.lost.Store(true)
		time.Sleep(5 * time.Minute)
		bubble.Wait()
		n := 0
		for _, e := range s.recorded {
			if e.Action == "mend" {
				n++
			}
		}
		if n != 1 || !s.wrote("mend") {
			t.Errorf("written down %d times: %+v", n, s.recorded)
		}
		s.live.refuses.Store(false)
		time.Sleep(time.Minute)
		if s.live.given.Load() != 1 {
			t.Error("it isn't tried again")
		}
	})
}
