package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
)

func TestOwnersOfImages(t *testing.T) {
	path := file(t)
	s := open(t, path)
	at := time.Date(2030, 5, 17, 12, 0, 0, 5, time.UTC)
	hers := container.ImageOwner{Image: "sha256:a", UID: 1001, How: container.ByLoad, Since: at}
	his := container.ImageOwner{Image: "sha256:a", UID: 1002, How: container.ByCommit, Since: at}
	again := hers
	again.How, again.Since = container.ByImport, at.Add(time.Hour)
	for _, o := range []container.ImageOwner{his, hers, again} {
		if err := s.OwnImage(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, path)
	if got, err := s.Images(t.Context()); err != nil || !cmp.Equal([]container.ImageOwner{hers, his}, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := s.DisownImage(t.Context(), "sha256:a", 1001); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Images(t.Context()); err != nil || !cmp.Equal([]container.ImageOwner{his}, got) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNamesOfImages(t *testing.T) {
	s := open(t, file(t))
	one := container.ImageName{Name: "ds01-1001/x:1", Kind: container.NameShared, Image: "sha256:a", UID: 1001, Since: time.Unix(5, 0).UTC()}
	two := container.ImageName{Name: "reg:5000/x:1", Kind: container.NameLent, Image: "sha256:b", UID: 1002}
	moved := one
	moved.Image = "sha256:c"
	for _, n := range []container.ImageName{two, one, moved} {
		if err := s.SaveImageName(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ImageNames(t.Context()); err != nil || !cmp.Equal([]container.ImageName{moved, two}, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := s.DeleteImageName(t.Context(), two.Name); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ImageNames(t.Context()); err != nil || !cmp.Equal([]container.ImageName{moved}, got) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestImagesThatAreBeingMade(t *testing.T) {
	path := file(t)
	s := open(t, path)
	one := container.Making{
		ID: "a", UID: 1001, How: container.ByLoad, Since: time.Unix(5, 7).UTC(),
		Wanted: [][]container.WantedName{{{Name: "ds01-1001/x:1", Was: "sha256:a"}, {Name: "ds01-1001/y:1"}}, {}},
	}
	two := container.Making{ID: "b", UID: 1002, How: container.ByCommit, Since: time.Unix(6, 0).UTC(), Wanted: [][]container.WantedName{{}}}
	for _, m := range []container.Making{two, one} {
		if err := s.SaveMaking(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, path)
	if got, err := s.Makings(t.Context()); err != nil || !cmp.Equal([]container.Making{one, two}, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := s.DeleteMaking(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Makings(t.Context()); err != nil || !cmp.Equal([]container.Making{two}, got) {
		t.Errorf("%+v, %v", got, err)
	}
}
