package curator_test

import (
	"testing"

	"ds01.dev/ds01/internal/curator"
)

func TestWhatANameMeantIsRecalledUntilItMayMeanAnother(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", []string{"ds01-1001/app:latest"}, alice)
	recalled := func(p curator.Person, want string) {
		t.Helper()
		if i, ok := s.Recall(p, "app"); i.ID != want || ok != (want != "") {
			t.Errorf("%d recalls %q, want %q", p.UID, i.ID, want)
		}
	}
	recalled(alice, "")
	s.wantFind(alice, "app", hers)
	recalled(alice, hers)
	recalled(bob, "")
	s.wantFind(bob, "app", "")
	recalled(bob, "")
	recalled(alice, hers)
	s.must(s.Tag(t.Context(), alice, "busybox", "app"))
	recalled(alice, "")
	s.wantFind(alice, "app", id("b"))
	_, err := s.Share(t.Context(), alice, "app")
	s.must(err)
	const full = "ds01-1001/app"
	s.wantFind(bob, full, id("b"))
	_, err = s.Unshare(t.Context(), alice, "app")
	s.must(err)
	if _, known := s.Recall(bob, full); known {
		t.Error("what isn't shared any more is recalled")
	}
	s.wantFind(alice, "app", id("b"))
	if _, err := s.engine.RemoveImage(t.Context(), full, true); err != nil {
		t.Fatal(err)
	}
	recalled(alice, id("b"))
	s.wantFind(alice, "app", "")
	recalled(alice, "")
}
