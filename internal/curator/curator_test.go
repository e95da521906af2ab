package curator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

func TestOnesOwnNameComesBeforeTheSharedOne(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", []string{"ds01-1001/busybox:latest"}, alice)
	shared := id("b")
	for _, reference := range []string{"busybox", "busybox:latest", "docker.io/library/busybox", "ds01-1001/busybox", hers, hers[:20], hers[7:19]} {
		s.wantFind(alice, reference, hers)
	}
	for _, reference := range []string{"busybox", "index.docker.io/library/busybox:latest", shared, shared[7:19]} {
		s.wantFind(bob, reference, shared)
	}
	s.wantFind(alice, shared, shared)
	for _, reference := range []string{"none", "Busybox", "sha256:zz", "", "deadbeef"} {
		s.wantFind(alice, reference, "")
	}
}

func TestWhatIsAnothersIsNotThere(t *testing.T) {
	s := newScene(t)
	named := s.image("1", []string{"ds01-1001/secret:1", "ds01-1001/secret:latest"}, alice)
	dangling := s.image("2", nil, alice)
	s.image("3", []string{"busybox:1", "ds01-1001/mine:1"})
	for _, reference := range []string{
		"secret", "secret:1", "ds01-1001/secret:1", "docker.io/ds01-1001/secret:1", "index.docker.io/ds01-1001/secret:1",
		named, named[7:], named[7:19], named[7:10], dangling, dangling[7:19], "ds01-1001/mine:1",
	} {
		s.wantFind(bob, reference, "")
		_, err := s.Remove(t.Context(), bob, reference, curator.Removal{Force: true})
		wantKind(t, err, problem.ErrNotFound)
		wantKind(t, s.Tag(t.Context(), bob, reference, "stolen"), problem.ErrNotFound)
	}
	for _, reference := range []string{named, dangling, dangling[7:19], "secret"} {
		if found, err := s.Find(t.Context(), alice, reference); err != nil {
			t.Errorf("alice: %s: %+v, %v", reference, found, err)
		}
	}
	s.wantFind(ada, "ds01-1001/secret:1", named)
	s.wantFind(ada, dangling, dangling)
	s.runs(bob, named)
	s.wantFind(bob, named, named)
	s.wantFind(bob, "ds01-1001/secret:1", "")
}

func TestAListIsInOnesOwnWords(t *testing.T) {
	s := newScene(t)
	s.image("1", []string{"ds01-1001/busybox:latest", "ds01-1001/reg__5000/x:1", "ds01-1002/b:1"}, alice, bob)
	s.image("2", nil, bob)
	s.image("3", []string{"ds01-1002/app:1"}, bob)
	shown := func(p int) map[string][]string {
		who := alice
		who.UID = p
		v, err := s.View(t.Context(), who)
		s.must(err)
		got := map[string][]string{}
		for _, i := range v.Images() {
			got[i.ID[7:8]] = v.Names(i.ID, i.Names)
		}
		return got
	}
	if diff := cmp.Diff(map[string][]string{"1": {"busybox:latest", "reg:5000/x:1"}, "b": {}}, shown(alice.UID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]string{"1": {"b:1"}, "2": {}, "3": {"app:1"}, "b": {"busybox:latest"}}, shown(bob.UID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]string{"b": {"busybox:latest"}}, shown(1009)); diff != "" {
		t.Error(diff)
	}
}

func TestATagStaysInOnesOwnRepository(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", []string{"ds01-1001/mine:1"}, alice)
	s.must(s.Tag(t.Context(), alice, "mine:1", "busybox"))
	s.must(s.Tag(t.Context(), alice, "mine:1", "reg:5000/x:1"))
	s.wantNames(hers, "ds01-1001/busybox:latest", "ds01-1001/mine:1", "ds01-1001/reg__5000/x:1")
	s.wantNames(id("b"), "busybox:latest")
	for _, target := range []string{"ds01-1002/x", "docker.io/ds01-1002/x"} {
		wantKind(t, s.Tag(t.Context(), alice, "mine:1", target), problem.ErrNotFound)
	}
	wantKind(t, s.Tag(t.Context(), alice, "mine:1", "A B"), problem.ErrInvalid)
	s.must(s.Tag(t.Context(), ada, "ds01-1001/mine:1", "base:1"))
	s.wantFind(bob, "base:1", hers)
}

func TestAnImageIsSharedAsItIs(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	one, two := s.image("1", []string{"ds01-1001/app:1"}, alice), s.image("2", []string{"ds01-1001/app:2"}, alice)
	full, err := s.Share(ctx, alice, "app:1")
	if s.must(err); full != "ds01-1001/app:1" || !s.Shared(one, full) {
		t.Errorf("shared as %s", full)
	}
	s.restart()
	s.wantFind(bob, full, one)
	s.wantFind(bob, "app:1", "")
	_, err = s.Remove(ctx, bob, full, curator.Removal{Force: true})
	wantKind(t, err, problem.ErrDenied)
	for _, reference := range []string{"busybox", two} {
		_, err = s.Share(ctx, alice, reference)
		if err == nil {
			t.Errorf("%s is shared", reference)
		}
	}
	_, err = s.Share(ctx, bob, full)
	wantKind(t, err, problem.ErrDenied)
	s.must(s.Tag(ctx, alice, "app:2", "app:1"))
	s.wantFind(bob, full, "")
	s.must(s.Tag(ctx, alice, one, "app:1"))
	s.wantFind(bob, full, "")
	_, err = s.Share(ctx, ada, full)
	s.must(err)
	s.wantFind(bob, full, one)
	s.must(s.engine.TagImage(ctx, two, full)) // past ds01
	s.wantFind(bob, full, "")
	s.must(s.engine.TagImage(ctx, one, full))
	_, err = s.Unshare(ctx, alice, "app:1")
	s.must(err)
	s.wantFind(bob, full, "")
}

func TestANameLentToAPushIsHidden(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	hers := s.image("1", []string{"ds01-1001/reg__5000/x:1"}, alice)
	giveBack, err := s.Lend(ctx, alice, hers, "reg:5000/x:1")
	s.must(err)
	s.wantFind(bob, "reg:5000/x:1", "")
	s.wantFind(bob, hers, "")
	wantKind(t, s.CheckLent("reg:5000/x"), problem.ErrConflict)
	wantKind(t, s.CheckLent("reg:5000/x:1"), problem.ErrConflict)
	s.must(s.CheckLent("reg:5000/x:2"))
	_, err = s.Lend(ctx, bob, id("b"), "reg:5000/x:1")
	wantKind(t, err, problem.ErrConflict)
	if v, err := s.View(ctx, bob); err != nil || v.Sees(hers, []string{"reg:5000/y@sha256:" + strings.Repeat("0", 64)}) {
		t.Errorf("bob sees it by a digest that a push has left: %v", err)
	}
	looks, err := s.View(ctx, bob) // and reads what the engine said only when it is over
	s.must(err)
	s.must(giveBack(ctx))
	s.wantNames(hers, "ds01-1001/reg__5000/x:1")
	if looks.Sees(hers, []string{"reg:5000/x:1"}) {
		t.Error("bob sees it by what the engine said while it was lent")
	}

	_, err = s.Lend(ctx, alice, hers, "reg:5000/x:1")
	s.must(err)
	s.restart()
	s.wantFind(bob, "reg:5000/x:1", "")
	s.must(s.Recover(ctx))
	s.wantNames(hers, "ds01-1001/reg__5000/x:1")
	s.must(s.CheckLent("reg:5000/x:1"))

	_, err = s.Lend(ctx, alice, hers, "busybox:latest")
	wantKind(t, err, problem.ErrConflict)
	s.wantNames(id("b"), "busybox:latest")

	giveBack, err = s.Lend(ctx, alice, hers, "reg:5000/x:1")
	s.must(err)
	_, err = s.Remove(ctx, alice, "ds01-1001/reg__5000/x:1", curator.Removal{})
	s.must(err)
	s.must(giveBack(ctx))
	s.wantNames(hers, account.KeptImage(hers, alice.UID))
}

func TestEventsOfImagesReachTheirOwners(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", nil, alice)
	for _, c := range []struct {
		image, name string
		alice, bob  bool
	}{
		{hers, "ds01-1001/x:1", true, false},
		{hers, hers, true, false},
		{"busybox:latest", "busybox:latest", true, true},
		{id("b"), "busybox:latest", true, true},
		{id("c"), id("c"), false, false},
		{id("c"), "ds01-1002/x:1", false, true},
	} {
		if s.Hears(alice, c.image, c.name) != c.alice || s.Hears(bob, c.image, c.name) != c.bob || !s.Hears(ada, c.image, c.name) {
			t.Errorf("%+v", c)
		}
	}
}

func TestOwnersHearThatAnImageIsGone(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", []string{"ds01-1001/a:1"}, alice)
	_, err := s.Remove(t.Context(), alice, "a:1", curator.Removal{})
	s.must(err)
	if !s.Hears(alice, hers, hers) || s.Hears(bob, hers, hers) {
		t.Error("who made it doesn't hear of its end, or who didn't does")
	}
}

func TestOwnersOutliveARestart(t *testing.T) {
	s := newScene(t)
	hers := s.image("1", nil, alice, bob)
	s.restart()
	if !s.Owns(hers, alice.UID) || !s.Owns(hers, bob.UID) || s.Owns(hers, ada.UID) || len(s.Owners(hers)) != 2 {
		t.Errorf("owners are %+v", s.Owners(hers))
	}
	if !slices.ContainsFunc(s.Owners(hers), func(o container.ImageOwner) bool { return o.How == container.ByLoad && !o.Since.IsZero() }) {
		t.Errorf("owners are %+v", s.Owners(hers))
	}
}
