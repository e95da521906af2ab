package launcher_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// known is a scene in which alice has had a container of busybox before.
func known(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, admission.UserNS)
	first := s.create(t, request())
	if err := s.engine.Remove(t.Context(), first.ContainerID, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Ledger.Forget(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	return s
}

// creates returns how often the engine was asked for a container.
func (s *scene) creates() int {
	n := 0
	for _, c := range s.engine.Calls() {
		if strings.HasPrefix(c, "Create ") {
			n++
		}
	}
	return n
}

// another is an image that takes the name away past ds01.
func (s *scene) another(change func(*container.Image)) string {
	i := container.Image{ID: "sha256:" + strings.Repeat("e", 64), Names: []string{"busybox:latest"}, Size: 10}
	change(&i)
	s.engine.AddImage(i)
	return i.ID
}

func TestAContainerIsOfTheImageThatIsMeantNow(t *testing.T) {
	s := known(t)
	image := s.another(func(*container.Image) {})
	before := s.creates()
	r := s.create(t, request())
	if got := s.engine.BodyOf(r.ContainerID).Image; got != image {
		t.Errorf("it is of %s, not of %s", got, image)
	}
	if s.creates() != before+2 {
		t.Errorf("the image that was meant last isn't tried: %v", s.engine.Calls())
	}
	list, err := s.engine.List(t.Context())
	if err != nil || len(list) != 1 || len(s.Ledger.Records()) != 1 || r.State != gpu.Bound || len(r.Devices) != 1 {
		t.Errorf("there are %v, %v, %v", list, s.Ledger.Records(), err)
	}
	before = s.creates()
	more := request()
	more.Name, more.Body.HostConfig.DeviceRequests = "more", nil
	r = s.create(t, more)
	if got := s.engine.BodyOf(r.ContainerID).Image; got != image || s.creates() != before+1 {
		t.Errorf("the next one is of %s, after %d creates", got, s.creates()-before)
	}
}

func TestWhatAnImageThatIsMeantNoLongerLeadsToIsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *scene)
		kind   error
	}{
		"it is gone": {func(t *testing.T, s *scene) {
			if _, err := s.engine.RemoveImage(t.Context(), "busybox", true); err != nil {
				t.Fatal(err)
			}
		}, problem.ErrNotFound},
		"the name is": {func(t *testing.T, s *scene) {
			if err := s.engine.TagImage(t.Context(), "busybox", "other"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.engine.RemoveImage(t.Context(), "busybox", false); err != nil {
				t.Fatal(err)
			}
		}, problem.ErrNotFound},
		"the engine is down": {func(_ *testing.T, s *scene) { s.engine.SetDown(true) }, problem.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := known(t)
			c.change(t, s)
			_, _, err := s.Create(t.Context(), request())
			if !errors.Is(err, c.kind) {
				t.Errorf("got %v", err)
			}
			s.engine.SetDown(false)
			s.wantNothing(t)
		})
	}
}

// A trial has nothing that would show it the difference.
func TestATrialIsOfTheImageThatIsMeantNow(t *testing.T) {
	s := known(t)
	if _, err := s.engine.RemoveImage(t.Context(), "busybox", true); err != nil {
		t.Fatal(err)
	}
	if got := s.Try(t.Context(), request()); !errors.Is(got.Refusal, problem.ErrNotFound) {
		t.Errorf("got %v", got.Refusal)
	}
}

func TestARefusalOfAnotherImageIsNone(t *testing.T) {
	s := known(t)
	image := s.another(func(*container.Image) {})
	s.engine.Fail("Create", docker.Refusal("refused", http.StatusBadRequest, []byte(`{"message":"not for this platform"}`)), false)
	r := s.create(t, request())
	if got := s.engine.BodyOf(r.ContainerID).Image; got != image {
		t.Errorf("it is of %s, not of %s", got, image)
	}
}

// The engine fills a new volume from the image: from no other one.
func TestAVolumeIsFilledFromTheImageThatIsMeantNow(t *testing.T) {
	t.Run("of the request", func(t *testing.T) {
		s := known(t)
		s.another(func(*container.Image) {})
		before := s.creates()
		r := request()
		r.Body.HostConfig.Binds = []string{"data:/data"}
		s.create(t, r)
		if s.creates() != before+1 {
			t.Errorf("calls: %v", s.engine.Calls())
		}
	})
	t.Run("of the image", func(t *testing.T) {
		s := newScene(t, admission.UserNS)
		s.another(func(i *container.Image) { i.Volumes = []string{"/data"} })
		s.create(t, request())
		before := s.creates()
		r := request()
		r.Name, r.Body.HostConfig.DeviceRequests = "more", nil
		s.engine.AddImage(container.Image{ID: "sha256:" + strings.Repeat("d", 64), Names: []string{"busybox:latest"}})
		s.create(t, r)
		if s.creates() != before+1 {
			t.Errorf("calls: %v", s.engine.Calls())
		}
	})
}
