package curator_test

import (
	"slices"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

func TestAnImageGoesWithTheLastWhoNeedsIt(t *testing.T) {
	for name, c := range map[string]struct {
		names  []string
		also   bool // bob made it too
		runs   bool // bob has a container of it
		gone   bool
		remain []string
	}{
		"nobody else":         {names: []string{"ds01-1001/app:1"}, gone: true},
		"another name":        {names: []string{"ds01-1001/app:1", "ds01-1002/app:1"}, also: true, remain: []string{"ds01-1002/app:1"}},
		"another owner":       {names: []string{"ds01-1001/app:1"}, also: true, remain: []string{account.KeptImage(id("1"), 1002)}},
		"another's container": {names: []string{"ds01-1001/app:1"}, runs: true, remain: []string{account.KeptImage(id("1"), 1002)}},
		"a shared name":       {names: []string{"ds01-1001/app:1", "app:1"}, remain: []string{"app:1"}},
	} {
		for _, reference := range []string{"app:1", id("1"), "--force"} {
			t.Run(name+" "+reference[:5], func(t *testing.T) {
				s := newScene(t)
				force := reference == "--force" // which takes nothing from others
				if force {
					reference = "app:1"
				}
				image := s.image("1", c.names, alice)
				if c.also {
					s.must(s.Own(t.Context(), image, bob.UID, container.ByLoad))
				}
				if c.runs {
					s.runs(bob, image)
				}
				removed, err := s.Remove(t.Context(), alice, reference, curator.Removal{Force: force})
				s.must(err)
				if removed[0].Untagged != "ds01-1001/app:1" || c.gone != slices.Contains(removed, container.Removed{Deleted: image}) {
					t.Errorf("removed %+v", removed)
				}
				if s.Owns(image, alice.UID) {
					t.Error("alice owns it still")
				}
				if c.gone != s.gone(image) {
					t.Errorf("gone is %t", s.gone(image))
				}
				if !c.gone {
					s.wantNames(image, c.remain...)
				}
				if c.also {
					s.wantFind(bob, image, image)
				}
			})
		}
	}
}

func TestSharedImagesAreRemovedByAdministrators(t *testing.T) {
	s := newScene(t)
	for _, reference := range []string{"busybox", id("b")} {
		_, err := s.Remove(t.Context(), alice, reference, curator.Removal{Force: true})
		wantKind(t, err, problem.ErrDenied)
	}
	s.must(s.Tag(t.Context(), alice, "busybox", "mine"))
	_, err := s.Remove(t.Context(), alice, id("b"), curator.Removal{Force: true})
	s.must(err)
	s.wantNames(id("b"), "busybox:latest")
	_, err = s.Remove(t.Context(), ada, "busybox", curator.Removal{})
	s.must(err)
	if !s.gone(id("b")) {
		t.Error("it is there still")
	}
}

func TestAnAdministratorTakesAnothersImageOnlyByForce(t *testing.T) {
	s := newScene(t)
	image := s.image("1", []string{"ds01-1001/app:1"}, alice)
	_, err := s.Remove(t.Context(), ada, image, curator.Removal{})
	wantKind(t, err, problem.ErrConflict)
	_, err = s.Remove(t.Context(), ada, "ds01-1001/app:1", curator.Removal{})
	s.must(err)
	s.wantNames(image, account.KeptImage(image, alice.UID))
	_, err = s.Remove(t.Context(), ada, image, curator.Removal{Force: true})
	s.must(err)
	if !s.gone(image) || s.Owns(image, alice.UID) {
		t.Error("it is there still")
	}
}

func TestByAnIDSeveralNamesGoOnlyByForce(t *testing.T) {
	s := newScene(t)
	image := s.image("1", []string{"ds01-1001/a:1", "ds01-1001/b:1"}, alice)
	_, err := s.Remove(t.Context(), alice, image, curator.Removal{})
	wantKind(t, err, problem.ErrConflict)
	_, err = s.Remove(t.Context(), alice, image, curator.Removal{Force: true})
	s.must(err)
	if !s.gone(image) {
		t.Error("it is there still")
	}
}

func TestOnesOwnContainerKeepsAnImage(t *testing.T) {
	s := newScene(t)
	image := s.image("1", []string{"ds01-1001/a:1"}, alice)
	s.runs(alice, image)
	_, err := s.Remove(t.Context(), alice, "a:1", curator.Removal{})
	wantKind(t, err, problem.ErrConflict)
	s.wantNames(image, "ds01-1001/a:1")
}

func TestParentsOfOnesOwnGoWithTheirLastChild(t *testing.T) {
	s := newScene(t)
	parent, his := s.image("1", nil, alice), s.image("2", nil, bob)
	child := s.image("3", []string{"ds01-1001/a:1"}, alice)
	s.engine.AddImage(container.Image{ID: child, Names: []string{"ds01-1001/a:1"}, Parent: parent})
	s.engine.AddImage(container.Image{ID: parent, Parent: his})
	_, err := s.Remove(t.Context(), alice, "a:1", curator.Removal{})
	s.must(err)
	if !s.gone(child) || !s.gone(parent) || s.gone(his) {
		t.Errorf("gone: %t %t %t", s.gone(child), s.gone(parent), s.gone(his))
	}
}

func TestParentsStayWhenAskedTo(t *testing.T) {
	s := newScene(t)
	parent, child := s.image("1", nil, alice), s.image("3", nil, alice)
	s.engine.AddImage(container.Image{ID: child, Names: []string{"ds01-1001/a:1"}, Parent: parent})
	_, err := s.Remove(t.Context(), alice, "a:1", curator.Removal{KeepParents: true})
	s.must(err)
	if !s.gone(child) || s.gone(parent) {
		t.Errorf("gone: %t %t", s.gone(child), s.gone(parent))
	}
}

func TestPruning(t *testing.T) {
	for name, c := range map[string]struct {
		who  int
		all  bool
		left string // letters of the images that are left
	}{
		"a person's dangling images":  {alice.UID, false, "2345678b"},
		"all of a person's":           {alice.UID, true, "345678b"},
		"an administrator's":          {ada.UID, false, "1234578b"},
		"all of an administrator's":   {ada.UID, true, "123458"},
		"somebody who has made none":  {1009, true, "12345678b"},
		"bob, who has a container of": {bob.UID, true, "1234567" + "b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.image("1", nil, alice)
			s.image("2", []string{"ds01-1001/a:1"}, alice)
			s.runs(alice, s.image("3", []string{"ds01-1001/used:1"}, alice))
			s.runs(bob, s.image("4", nil, alice))
			s.image("5", []string{"ds01-1002/b:1"}, alice)
			s.image("6", nil)
			s.image("7", []string{"shared:1"})
			s.image("8", nil, bob)
			if name == "bob, who has a container of" {
				s.runs(bob, s.image("5", []string{"ds01-1002/b:1"}))
			}
			p := alice
			p.UID, p.Admin = c.who, c.who == ada.UID
			removed, bytes, err := s.Prune(t.Context(), p, c.all, func(container.Image) bool { return true })
			s.must(err)
			left := ""
			for _, letter := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "b"} {
				if !s.gone(id(letter)) {
					left += letter
				}
			}
			if left != c.left {
				t.Errorf("left %s, want %s; removed %+v", left, c.left, removed)
			}
			if (bytes > 0) != slices.ContainsFunc(removed, func(r container.Removed) bool { return r.Deleted != "" && r.Deleted != id("b") }) {
				t.Errorf("%d bytes for %+v", bytes, removed)
			}
			if c.who == alice.UID {
				s.wantFind(bob, id("4"), id("4"))
				if s.Owns(id("5"), alice.UID) {
					t.Error("5 without a name of hers is hers still")
				}
			}
		})
	}
}
