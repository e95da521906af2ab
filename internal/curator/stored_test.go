package curator_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// slow is a store that is late to say that it has stored an owner.
type slow struct {
	curator.Store
	stored chan struct{}
}

func (s slow) OwnImage(ctx context.Context, o container.ImageOwner) error {
	err := s.Store.OwnImage(ctx, o)
	close(s.stored)
	time.Sleep(200 * time.Millisecond)
	return err
}

// Else a restart would show an image to everybody that its maker has as theirs.
func TestWhatIsStoredIsWhatIsKnown(t *testing.T) {
	s := newScene(t)
	image := s.image("1", []string{"ds01-1001/app:latest"}, alice)
	store := slow{s.store, make(chan struct{})}
	var err error
	s.Curator, err = curator.New(t.Context(), store, s.engine, s, time.Now)
	s.must(err)
	owned := make(chan error, 1)
	go func() { owned <- s.Own(t.Context(), image, alice.UID, container.ByBuild) }() // built once more,
	<-store.stored
	if _, err := s.Remove(t.Context(), alice, "app", curator.Removal{}); err != nil { // and removed
		t.Error(err)
	}
	s.must(<-owned)
	known := s.Owners(image)
	s.restart()
	if diff := cmp.Diff(s.Owners(image), known); diff != "" {
		t.Errorf("stored and known differ (-stored +known):\n%s", diff)
	}
}
