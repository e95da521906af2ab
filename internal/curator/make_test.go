package curator_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

// makes puts an image at the engine under the first mark of a making.
func (s *scene) makes(m container.Making, letter string) string {
	s.t.Helper()
	s.engine.AddImage(container.Image{ID: id(letter), Names: []string{curator.Mark(m, 0)}, Size: 10})
	return id(letter)
}

// begins notes that alice is about to make images.
func (s *scene) begins(names ...[]string) container.Making {
	s.t.Helper()
	m, err := s.Begin(s.t.Context(), alice.UID, container.ByLoad, names...)
	s.must(err)
	return m
}

// waits wants the store to wait for so many makings.
func (s *scene) waits(want int) {
	s.t.Helper()
	if all, err := s.store.Makings(s.t.Context()); err != nil || len(all) != want {
		s.t.Errorf("waiting for %+v, %v; want %d", all, err, want)
	}
}

// wantMade wants an image to be alice's under these names, and nobody else's.
func (s *scene) wantMade(image string, names ...string) {
	s.t.Helper()
	s.wantNames(image, names...)
	if owners := s.Owners(image); len(owners) != 1 || owners[0].UID != alice.UID || owners[0].How != container.ByLoad {
		s.t.Errorf("owners are %+v", owners)
	}
	s.wantFind(alice, image, image)
	s.wantFind(bob, image, "")
}

func TestWhatWasMadeIsFoundByItsMarkAfterACrash(t *testing.T) {
	app, web := "ds01-1001/app:1", "ds01-1001/web:1"
	for name, crash := range map[string]func(s *scene, m container.Making){
		"before the engine is asked, and it is asked all the same": func(s *scene, m container.Making) {
			s.restart()
			s.must(s.Recover(t.Context()))
			s.waits(1)
			image := s.makes(m, "1")
			s.wantFind(alice, image, "")
			s.must(s.Marked(t.Context(), image))
		},
		"before the engine is done, which the next start finds": func(s *scene, m container.Making) {
			s.restart()
			s.must(s.Recover(t.Context()))
			s.makes(m, "1")
			s.restart()
			s.must(s.Recover(t.Context()))
		},
		"before it has an owner": func(s *scene, m container.Making) {
			s.makes(m, "1")
			s.restart()
			s.must(s.Recover(t.Context()))
		},
		"before it has its first name": func(s *scene, m container.Making) {
			s.must(s.Own(t.Context(), s.makes(m, "1"), alice.UID, container.ByLoad))
			s.restart()
			s.must(s.Recover(t.Context()))
		},
		"before it has its second name": func(s *scene, m container.Making) {
			s.must(s.Own(t.Context(), s.makes(m, "1"), alice.UID, container.ByLoad))
			s.must(s.engine.TagImage(t.Context(), id("1"), app))
			s.restart()
			s.must(s.Recover(t.Context()))
		},
		"before its mark is gone": func(s *scene, m container.Making) {
			s.must(s.Own(t.Context(), s.makes(m, "1"), alice.UID, container.ByLoad))
			s.must(s.engine.TagImage(t.Context(), id("1"), app))
			s.must(s.engine.TagImage(t.Context(), id("1"), web))
			s.restart()
			s.must(s.Recover(t.Context()))
		},
		"before it is forgotten": func(s *scene, m container.Making) {
			s.makes(m, "1")
			_, err := s.End(t.Context(), m, true)
			s.must(errors.Join(err, s.store.SaveMaking(t.Context(), m)))
			s.restart()
			s.must(s.Recover(t.Context()))
			s.must(s.store.DeleteMaking(t.Context(), m.ID)) // it is waited for in vain, see below
		},
		"in the midst of a failing engine": func(s *scene, m container.Making) {
			s.makes(m, "1")
			s.engine.Fail("TagImage", errors.New("lost"), false)
			if _, err := s.End(t.Context(), m, true); err == nil {
				t.Error("the failure isn't told")
			}
			s.must(s.Recover(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			crash(s, s.begins([]string{app, web}))
			s.wantMade(id("1"), app, web)
			s.waits(0)
		})
	}
}

func TestAnAnswerThatIsLostIsWaitedFor(t *testing.T) {
	s := newScene(t)
	s.begins([]string{"ds01-1001/never:1"})
	s.restart() // somebody is waited for all the while
	early, late := s.begins([]string{"ds01-1001/early:1"}), s.begins([]string{"ds01-1001/late:1"})
	s.makes(early, "1")
	images, err := s.End(t.Context(), early, false)
	if s.must(err); !slices.Equal(images, []string{id("1")}) {
		t.Errorf("made %v", images)
	}
	s.wantMade(id("1"), "ds01-1001/early:1")
	s.makes(late, "2")
	s.must(s.Marked(t.Context(), id("2"))) // whoever began it ends it
	if s.Owns(id("2"), alice.UID) {
		t.Error("it was taken from who follows it")
	}
	s.must(s.engine.TagImage(t.Context(), id("2"), "ds01-1001/x:1"))
	_, err = s.engine.RemoveImage(t.Context(), curator.Mark(late, 0), false)
	s.must(err)
	images, err = s.End(t.Context(), late, false)
	if s.must(err); !slices.Equal(images, []string{""}) {
		t.Errorf("made %v", images)
	}
	s.waits(2)
	s.must(s.engine.TagImage(t.Context(), id("2"), curator.Mark(late, 0)))
	s.must(s.Marked(t.Context(), id("2")))
	s.wantNames(id("2"), "ds01-1001/late:1", "ds01-1001/x:1")
	s.waits(1)
}

func TestAnImageIsntMissedThatComesWhileItsAnswerIsGivenUp(t *testing.T) {
	s := newScene(t)
	m := s.begins(nil)
	image := s.makes(m, "1")
	s.engine.Fail("Image", problem.ErrNotFound, false) // it comes between two looks
	images, err := s.End(t.Context(), m, false)
	if s.must(err); !slices.Equal(images, []string{image}) {
		t.Errorf("made %v", images)
	}
	s.waits(0)
}

func TestAMarkThatIsLeftBesideANameIsTakenAway(t *testing.T) {
	s := newScene(t)
	const mark, other = "ds01-1001/ds01-nameless:0123-0", "ds01-1002/ds01-nameless:4567-0"
	named, nameless := s.image("1", []string{"ds01-1001/x:1", mark}, alice), s.image("2", []string{other}, bob)
	s.must(s.Recover(t.Context()))
	s.wantNames(named, "ds01-1001/x:1")
	s.wantNames(nameless, other)
}

func TestANameThatWasMovedSinceTheCrashStays(t *testing.T) {
	s := newScene(t)
	old := s.image("9", []string{"ds01-1001/app:1"}, alice)
	first, second := s.begins([]string{"ds01-1001/app:1"}), s.begins([]string{"ds01-1001/app:1"})
	s.makes(first, "1")
	s.restart()
	s.makes(second, "2")
	_, err := s.End(t.Context(), second, true) // alice tried again
	s.must(err)
	s.must(s.Recover(t.Context()))
	s.wantMade(id("2"), "ds01-1001/app:1")
	s.wantMade(id("1"), curator.Mark(first, 0))
	s.wantNames(old)
	v, err := s.View(t.Context(), alice)
	s.must(err)
	if got := v.Names(id("1"), []string{curator.Mark(first, 0)}); len(got) > 0 {
		t.Errorf("it is shown as %v", got)
	}
}

func TestWhatNobodyMakesIsWaitedForForADay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.begins([]string{"ds01-1001/app:1"})
		s.restart()
		s.must(s.Recover(t.Context()))
		s.waits(1)
		time.Sleep(24 * time.Hour)
		s.must(s.Recover(t.Context()))
		s.waits(0)
	})
}

func TestAnImageWithoutANameHasItsMarkOnly(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	m := s.begins(nil)
	image := s.makes(m, "1")
	_, err := s.End(ctx, m, true)
	s.must(err)
	s.wantMade(image, curator.Mark(m, 0))
	for _, p := range []curator.Person{alice, ada} {
		v, err := s.View(ctx, p)
		s.must(err)
		if got := v.Names(image, []string{curator.Mark(m, 0)}); len(got) > 0 {
			t.Errorf("%d sees it as %v", p.UID, got)
		}
		if found, err := s.Find(ctx, p, image); err != nil || len(found.Names) > 0 {
			t.Errorf("%d finds %+v, %v", p.UID, found, err)
		}
		if s.Hears(p, image, curator.Mark(m, 0)) {
			t.Errorf("%d hears of the mark", p.UID)
		}
	}
	v, err := s.View(ctx, bob)
	if s.must(err); v.Sees(image, []string{curator.Mark(m, 0)}) {
		t.Error("bob sees it")
	}
	for _, p := range []curator.Person{alice, ada} {
		if err := s.Tag(ctx, p, "busybox", curator.Mark(m, 0)); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%d gives a mark: %v", p.UID, err)
		}
	}
	s.wantFind(bob, curator.Mark(m, 0), "")

	s.must(s.Tag(ctx, alice, image, "app:1"))
	s.wantMade(image, "ds01-1001/app:1")

	again := s.begins(nil)
	image = s.makes(again, "2")
	_, err = s.End(ctx, again, true)
	s.must(err)
	removed, err := s.Remove(ctx, alice, image, curator.Removal{})
	if s.must(err); len(removed) != 1 || removed[0].Deleted != image || !s.gone(image) {
		t.Errorf("removed %+v", removed)
	}

	third := s.begins(nil)
	image = s.makes(third, "3")
	_, err = s.End(ctx, third, true)
	s.must(err)
	removed, _, err = s.Prune(ctx, alice, false, func(container.Image) bool { return true })
	if s.must(err); len(removed) != 1 || removed[0].Deleted != image || !s.gone(image) {
		t.Errorf("pruned %+v", removed)
	}
}

func TestTwoPeopleWhoLoadOneImageAtOnceBothHaveIt(t *testing.T) {
	for _, first := range []int{0, 1} {
		s := newScene(t)
		hers := s.begins(nil)
		his, err := s.Begin(t.Context(), bob.UID, container.ByLoad, []string{"ds01-1002/app:1"})
		s.must(err)
		image := s.makes(hers, "1")
		s.must(s.engine.TagImage(t.Context(), image, curator.Mark(his, 0)))
		for i := range 2 {
			_, err := s.End(t.Context(), []container.Making{hers, his}[(first+i)%2], true)
			s.must(err)
		}
		if !s.Owns(image, alice.UID) || !s.Owns(image, bob.UID) {
			t.Errorf("owners are %+v", s.Owners(image))
		}
		s.wantNames(image, "ds01-1002/app:1")
	}
}

func TestAMarkShowsAnImageToNobody(t *testing.T) {
	s := newScene(t)
	const mark = "ds01-1001/ds01-nameless:0123-0"
	image := s.image("1", []string{mark}, alice, bob)
	_, err := s.Remove(t.Context(), alice, image, curator.Removal{})
	s.must(err)
	s.wantFind(alice, image, "")
	s.wantFind(bob, image, image)
	v, err := s.View(t.Context(), alice)
	if s.must(err); v.Sees(image, []string{mark}) {
		t.Error("alice sees what is bob's alone now")
	}
}

func TestOnlyAMarkMakesAnImageSomebodys(t *testing.T) {
	s := newScene(t)
	s.begins([]string{"ds01-1001/app:1"})
	image := s.image("1", nil, bob)
	foreign := s.image("2", []string{"ds01-1001/ds01-nameless:0123-0"})
	s.restart()
	s.must(s.Recover(t.Context()))
	s.must(s.Marked(t.Context(), foreign))
	if s.Owns(image, alice.UID) || s.Owns(foreign, alice.UID) {
		t.Error("alice was given an image that she didn't make")
	}
}

func TestAShareEndsBeforeItsNameMoves(t *testing.T) {
	s := newScene(t)
	s.image("1", []string{"ds01-1001/app:1"}, alice)
	s.image("2", nil, alice)
	_, err := s.Share(t.Context(), alice, "app:1")
	s.must(err)
	s.engine.Fail("TagImage", errors.New("lost"), true)
	if err := s.Tag(t.Context(), alice, id("2"), "app:1"); err == nil {
		t.Error("the answer wasn't lost")
	}
	s.restart()
	s.must(s.engine.TagImage(t.Context(), id("1"), "ds01-1001/app:1")) // as it was
	if s.Shared(id("1"), "ds01-1001/app:1") {
		t.Error("the name is shared still")
	}
}
