package launcher_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// copyFiles begins a copy of the container's files.
func (s *scene) copyFiles(t *testing.T, claim string) (during context.Context, done func()) {
	t.Helper()
	during, done, err := s.Copy(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	return during, done
}

func TestACopyFindsAContainerThatStandsStillWithItsMountsCovered(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	for _, running := range []bool{false, true} {
		if running {
			if err := s.Start(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
		}
		_, first := s.copyFiles(t, r.ID)
		_, second := s.copyFiles(t, r.ID)
		for range 2 {
			if len(s.mounter.mounted) > 0 || !slices.Equal(s.mounter.covered, []string{r.Mounts[0].HostPath}) {
				t.Errorf("mounted %v, covered %v", s.mounter.mounted, s.mounter.covered)
			}
			if slices.Contains(s.cgroups.frozen, r.ContainerID) != running {
				t.Errorf("running: %t, frozen: %v", running, s.cgroups.frozen)
			}
			first() // the second goes on, and to end twice is to end once
		}
		second()
		if len(s.mounter.covered) > 0 || len(s.cgroups.frozen) > 0 {
			t.Errorf("afterwards covered %v, frozen %v", s.mounter.covered, s.cgroups.frozen)
		}
	}
}

func TestWhileFilesAreCopiedTheContainerStaysAsItIs(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	_, done := s.copyFiles(t, r.ID)
	wantConflict := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	wantConflict("start", s.Start(t.Context(), r.ID))
	wantConflict("restart", s.Restart(t.Context(), r.ID, 0))
	wantConflict("pause", s.Pause(t.Context(), r.ID))
	wantConflict("unpause", s.Unpause(t.Context(), r.ID))
	if s.AwaitCopies(t.Context(), r.ID, time.Millisecond) {
		t.Error("it is said to be over")
	}
	done()
	if !s.AwaitCopies(t.Context(), r.ID, time.Hour) {
		t.Error("it isn't over")
	}
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
}

func TestACopyIsBrokenOffForWhoNeedsTheContainer(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	during, done := s.copyFiles(t, r.ID)
	defer done()
	if during.Err() != nil {
		t.Fatal("it has ended")
	}
	s.EndCopies(r.ID)
	s.EndCopies("nobody's")
	if during.Err() == nil {
		t.Error("it goes on")
	}
}

func TestAPausedContainerIsStillPausedAfterACopy(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	for _, do := range []func(context.Context, string) error{s.Start, s.Pause} {
		if err := do(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.cgroups.frozen = []string{r.ContainerID} // by the engine
	_, done := s.copyFiles(t, r.ID)
	done()
	if len(s.cgroups.frozen) != 1 {
		t.Error("the copy resumed it")
	}
	if err := s.Start(t.Context(), r.ID); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("starting a paused one: %v", err)
	}
}

func TestWhatCannotBeMadeReadyIsNotCopied(t *testing.T) {
	broken := errors.New("broken")
	for name, spoil := range map[string]func(*scene, *container.Record){
		"a mount can't be covered":   func(s *scene, _ *container.Record) { s.mounter.refuse["Cover"] = broken },
		"it can't be frozen":         func(s *scene, _ *container.Record) { s.cgroups.err = broken },
		"the engine doesn't answer":  func(s *scene, _ *container.Record) { s.engine.Fail("Inspect", broken, false) },
		"its owner has no account":   func(_ *scene, r *container.Record) { r.UID = 4711 },
		"a mount that isn't ds01's":  func(_ *scene, r *container.Record) { r.Mounts = nil },
		"it is still being created":  func(_ *scene, r *container.Record) { r.ContainerID = "" },
		"one of its mounts is moved": func(_ *scene, r *container.Record) { r.Mounts[0].HostPath = "/elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			r := s.create(t, request())
			if err := s.Start(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { spoil(s, c) })
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Copy(t.Context(), r.ID); err == nil {
				t.Fatal("it is copied")
			}
			if len(s.mounter.covered) > 0 {
				t.Errorf("left covered: %v", s.mounter.covered)
			}
			if !s.AwaitCopies(t.Context(), r.ID, time.Millisecond) {
				t.Error("it counts as being copied")
			}
		})
	}
}

func TestThawLetsOnlyThoseGoThatNobodyCopies(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	_, done := s.copyFiles(t, r.ID)
	if err := s.Thaw(r); err != nil || len(s.cgroups.frozen) != 1 {
		t.Errorf("during a copy: frozen %v, %v", s.cgroups.frozen, err)
	}
	done()
	s.cgroups.frozen = []string{r.ContainerID} // by a daemon that was killed
	if err := s.Thaw(r); err != nil || len(s.cgroups.frozen) > 0 {
		t.Errorf("after it: frozen %v, %v", s.cgroups.frozen, err)
	}
}
