package curator_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/store"
)

var (
	alice = curator.Person{UID: 1001}
	bob   = curator.Person{UID: 1002}
	ada   = curator.Person{UID: 1003, Admin: true}
)

// A scene is a curator with an engine in memory.
type scene struct {
	*curator.Curator
	t      *testing.T
	engine *dockertest.Engine
	store  *store.Store
	owner  map[string]int // of containers
	made   int
}

func (s *scene) ByContainer(id string) (container.Record, bool) {
	uid, ok := s.owner[id]
	return container.Record{Claim: gpu.Claim{UID: uid}}, ok
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, engine: dockertest.New(time.Now), owner: map[string]int{}}
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "ds01.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	s.restart()
	return s
}

// restart makes the curator anew, of what the store knows.
func (s *scene) restart() {
	s.t.Helper()
	var err error
	if s.Curator, err = curator.New(s.t.Context(), s.store, s.engine, s, time.Now); err != nil {
		s.t.Fatal(err)
	}
}

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// image puts an image at the engine, made by some people.
func (s *scene) image(letter string, names []string, owners ...curator.Person) string {
	s.t.Helper()
	s.engine.AddImage(container.Image{ID: id(letter), Names: names, Size: 10})
	for _, o := range owners {
		s.must(s.Own(s.t.Context(), id(letter), o.UID, container.ByLoad))
	}
	return id(letter)
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// runs makes a container of an image for somebody.
func (s *scene) runs(p curator.Person, image string) string {
	s.t.Helper()
	s.made++
	made, _, err := s.engine.Create(context.Background(), fmt.Sprint("c", s.made), "", fmt.Appendf(nil, `{"Image":%q}`, image))
	s.must(err)
	s.owner[made] = p.UID
	return made
}

// wantFind wants a reference to mean an image, "" nothing.
func (s *scene) wantFind(p curator.Person, reference, image string) {
	s.t.Helper()
	found, err := s.Find(s.t.Context(), p, reference)
	switch {
	case image == "" && err == nil:
		s.t.Errorf("%d finds %s: %+v", p.UID, reference, found)
	case image != "" && (err != nil || found.ID != image):
		s.t.Errorf("%d finds %s as %+v, %v; want %s", p.UID, reference, found, err, image)
	}
}

// gone tells whether the engine has an image no longer.
func (s *scene) gone(image string) bool {
	_, err := s.engine.Image(s.t.Context(), image)
	return err != nil
}

func (s *scene) wantNames(image string, want ...string) {
	s.t.Helper()
	i, err := s.engine.Image(s.t.Context(), image)
	s.must(err)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(i.Names))); diff != "" {
		s.t.Errorf("names (-want +got):\n%s", diff)
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want one of kind %q", err, kind)
	}
}
