package launcher_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
)

// copyFiles begins a copy of the container's files.
func (s *scene) copyFiles(t *testing.T, claim string) (during context.Context, done func()) {
	t.Helper()
	during, done, err := s.Copy(t.Context(), claim, true)
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

func TestAHeldContainerRunsOnAndIsNotStarted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	during, first, err := s.Hold(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := s.Hold(t.Context(), r.ID)
	if err != nil || len(s.cgroups.frozen)+len(s.mounter.covered) > 0 || !s.AwaitCopies(t.Context(), r.ID, time.Millisecond) {
		t.Errorf("frozen %v, covered %v, %v", s.cgroups.frozen, s.mounter.covered, err)
	}
	first()
	for what, do := range map[string]func() error{
		"start":   func() error { return s.Start(t.Context(), r.ID) },
		"restart": func() error { return s.Restart(t.Context(), r.ID, 0) },
	} {
		if err := do(); !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(s.Pause(t.Context(), r.ID), s.Unpause(t.Context(), r.ID)); err != nil {
		t.Error(err)
	}
	_, done := s.copyFiles(t, r.ID)
	done()
	if len(s.cgroups.frozen) > 0 {
		t.Error("it stands still after a copy beside")
	}
	second()
	if err := s.Restart(t.Context(), r.ID, 0); err != nil || during.Err() == nil {
		t.Errorf("afterwards: %v, %v", err, during.Err())
	}
}

func TestACopyIsBrokenOffForWhoNeedsTheContainer(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	during, done := s.copyFiles(t, r.ID)
	defer done()
	held, letGo, err := s.Hold(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer letGo()
	s.EndCopies("nobody's")
	if during.Err() != nil || held.Err() != nil {
		t.Fatal("it has ended")
	}
	s.EndCopies(r.ID)
	if during.Err() == nil || held.Err() == nil {
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
		"a volume can't be covered":  func(s *scene, _ *container.Record) { s.mounter.refuse["CoverVolume"] = broken },
		"it can't be frozen":         func(s *scene, _ *container.Record) { s.cgroups.err = broken },
		"the engine doesn't answer":  func(s *scene, _ *container.Record) { s.engine.Fail("Inspect", broken, false) },
		"its owner has no account":   func(_ *scene, r *container.Record) { r.UID = 4711 },
		"a mount that isn't ds01's":  func(_ *scene, r *container.Record) { r.Mounts = nil },
		"it is still being created":  func(_ *scene, r *container.Record) { r.ContainerID = "" },
		"one of its mounts is moved": func(_ *scene, r *container.Record) { r.Mounts[0].HostPath = "/elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, admission.UserNS)
			r := s.create(t, withVolumes("web"))
			if err := s.Start(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { spoil(s, c) })
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Copy(t.Context(), r.ID, true); err == nil {
				t.Fatal("it is copied")
			}
			if len(s.mounter.covered)+len(s.mounter.volumes) > 0 {
				t.Errorf("left covered: %v, %v", s.mounter.covered, s.mounter.volumes)
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

// withVolumes asks for a container with a directory and, in it, a volume with
// another one inside.
func withVolumes(name string) launcher.Request {
	r := request()
	r.Name, r.Body.HostConfig.DeviceRequests = name, nil
	r.Body.HostConfig.Binds = append(r.Body.HostConfig.Binds, "data:/workspace/data", "deep:/workspace/data/a/deep")
	r.Body.Volumes = map[string]struct{}{"/loose": {}}
	return r
}

func volumePath(name string) string { return "/engine/volumes/" + name + "._.1001/_data" }

func TestACopyFindsVolumesCoveredWithWhatIsMountedInThem(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r, other := s.create(t, withVolumes("web")), s.create(t, withVolumes("other"))
	_, done := s.copyFiles(t, r.ID)
	if len(s.mounter.volumes) != 3 || !slices.Contains(s.mounter.volumes, volumePath("data")) || !slices.Contains(s.mounter.volumes, volumePath("deep")) {
		t.Errorf("covered %v", s.mounter.volumes)
	}
	for path, want := range map[string]map[string]string{
		r.Mounts[0].HostPath: {"data": volumePath("data"), "data/a/deep": volumePath("deep")},
		volumePath("data"):   {"a/deep": volumePath("deep")},
		volumePath("deep"):   {},
	} {
		if got := s.mounter.inside[path]; !maps.Equal(got, want) {
			t.Errorf("in %s are %v, want %v", path, got, want)
		}
	}
	_, second := s.copyFiles(t, other.ID)
	done()
	if len(s.mounter.volumes) != 3 || slices.Contains(s.mounter.covered, r.Mounts[0].HostPath) {
		t.Errorf("while the other one is copied, covered are %v and %v", s.mounter.volumes, s.mounter.covered)
	}
	second()
	if len(s.mounter.volumes) > 0 {
		t.Errorf("left covered: %v", s.mounter.volumes)
	}
}

func TestNoContainerBeginsWithACoveredVolume(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r, other := s.create(t, withVolumes("web")), s.create(t, withVolumes("other"))
	if err := s.Start(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	_, done := s.copyFiles(t, r.ID)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "has the volume data are being copied") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	refused("restart", s.Restart(t.Context(), other.ID, 0))
	if o, err := s.engine.Inspect(t.Context(), other.ContainerID); err != nil || !o.Running() {
		t.Error("a restart that was refused stopped it")
	}
	s.stop(t, other)
	refused("start", s.Start(t.Context(), other.ID))
	_, _, err := s.Create(t.Context(), withVolumes("third"))
	refused("create", err)
	done()
	if err := s.Start(t.Context(), other.ID); err != nil {
		t.Error(err)
	}
}

func TestVolumesThatAreNotTheOwnersAreNotCopiedBeside(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, withVolumes("web"))
	if err := s.registrar.ForgetVolume(t.Context(), "deep._.1001"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Copy(t.Context(), r.ID, true); !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "/workspace/data/a/deep in it was not mounted by ds01") {
		t.Errorf("got %v", err)
	}
}

// The engine mounts a new container's volumes as well when ds01 looks up its
// user in it.
func TestNewContainersAreLookedIntoWithTheirMountsCovered(t *testing.T) {
	s := newScene(t, admission.UserNS)
	covered := 0
	s.Engine = readers{s.engine, func() { covered = len(s.mounter.volumes) + len(s.mounter.covered) }}
	ask := withVolumes("web")
	ask.Body.User = "root:root"
	s.create(t, ask)
	if covered != 4 {
		t.Errorf("%d mounts were covered", covered)
	}
	if len(s.mounter.volumes)+len(s.mounter.covered) > 0 {
		t.Errorf("left covered: %v %v", s.mounter.volumes, s.mounter.covered)
	}
}

// readers is an engine that tells when a container's files are read.
type readers struct {
	launcher.Engine
	reads func()
}

func (r readers) ReadFile(ctx context.Context, id, name string) ([]byte, error) {
	r.reads()
	return r.Engine.ReadFile(ctx, id, name)
}
