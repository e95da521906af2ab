package reconciler_test

import (
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

func (s *scene) wantNameAtEngine(t *testing.T, r container.Record, name string) {
	t.Helper()
	bubble.Wait()
	o, err := s.engine.Inspect(t.Context(), r.ContainerID)
	if err != nil || o.Name != name {
		t.Errorf("at the engine it is %q, want %q; %v", o.Name, name, err)
	}
}

func TestARenameCutShortIsMadeUpForAtTheNextStart(t *testing.T) {
	var r container.Record
	inBubble(t, func(t *testing.T, s *scene) {
		var err error
		if r, err = s.create(1, "web"); err != nil {
			t.Fatal(err)
		}
		if err := s.ledger.Rename(t.Context(), r.ID, "other"); err != nil { // and then the daemon is killed
			t.Fatal(err)
		}
	}, func(t *testing.T, s *scene) { s.wantNameAtEngine(t, r, "other._.1") })
}

func TestAContainerRenamedPastDs01GetsItsNameBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		if err := s.engine.Rename(t.Context(), r.ContainerID, "bobs._.2"); err != nil {
			t.Fatal(err)
		}
		s.wantNameAtEngine(t, r, "web._.1")
		s.want(t, r.ID, gpu.Running, time.Time{})
	})
}

func TestAPausedContainerHoldsItsDevices(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		if err := s.launcher.Pause(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		s.want(t, r.ID, gpu.Running, time.Time{})
		if err := s.launcher.Unpause(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		bubble.Wait()
		s.want(t, r.ID, gpu.Running, time.Time{})
	})
}

// While files are copied the engine tells nobody about the container: nobody
// else may wait for it.
func TestAContainerWhoseFilesAreCopiedKeepsNobodyWaiting(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		r := s.running(t)
		_, done, err := s.launcher.Copy(t.Context(), r.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		before, looks := time.Now(), len(s.engine.Calls())
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("a sweep took %s", took)
		}
		for _, call := range s.engine.Calls()[looks:] {
			if call == "Inspect "+r.ContainerID {
				t.Error("it was asked for")
			}
		}
		s.want(t, r.ID, gpu.Running, time.Time{})
		done()
	})
}
