package launcher_test

import (
	"errors"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// wantName wants a container to have a name in the ledger and at the engine.
func (s *scene) wantName(t *testing.T, r container.Record, name, atEngine string) {
	t.Helper()
	o, err := s.engine.Inspect(t.Context(), r.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.record(t, r.ID); got.Name != name || o.Name != atEngine {
		t.Errorf("it is %s, and %s at the engine; want %s and %s", got.Name, o.Name, name, atEngine)
	}
}

func TestRename(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Rename(t.Context(), r.ID, "other"); err != nil {
		t.Fatal(err)
	}
	s.wantName(t, r, "other", "other._.1001")
	second := request()
	second.Body.HostConfig.DeviceRequests = nil
	web := s.create(t, second) // its old name is free
	for name, kind := range map[string]error{
		"other": problem.ErrConflict, "web": problem.ErrInvalid, "a._.1002": problem.ErrInvalid, "": problem.ErrInvalid, "/x": problem.ErrInvalid, "-x": problem.ErrInvalid,
	} {
		if err := s.Rename(t.Context(), web.ID, name); !errors.Is(err, kind) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	s.wantName(t, web, "web", "web._.1001")
}

func TestARenameThatTheEngineRefusesChangesNothing(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if _, _, err := s.engine.Create(t.Context(), "taken._.1001", "", []byte(`{"Image":"busybox"}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(t.Context(), r.ID, "taken"); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("got %v", err)
	}
	s.wantName(t, r, "web", "web._.1001")
}

func TestARenameThatIsCutShortIsMadeUpFor(t *testing.T) {
	for _, done := range []bool{false, true} {
		s := newScene(t, admission.UserNS)
		r := s.create(t, request())
		s.engine.Fail("Rename", errors.New("the answer is lost"), done)
		if err := s.Rename(t.Context(), r.ID, "other"); err == nil {
			t.Error("it went well")
		}
		o, err := s.engine.Inspect(t.Context(), r.ContainerID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Align(t.Context(), s.record(t, r.ID), o); err != nil {
			t.Fatal(err)
		}
		s.wantName(t, r, "other", "other._.1001")
	}
}
