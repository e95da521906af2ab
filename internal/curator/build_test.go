package curator_test

import (
	"strconv"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/label"
)

func TestWhatABuildLeavesIsItsMakers(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	of := func(letter string, uid int, parent string, names ...string) string {
		s.engine.AddImage(container.Image{ID: id(letter), Names: names, Parent: parent, Labels: map[string]string{label.UID: strconv.Itoa(uid)}})
		return id(letter)
	}
	stage := of("1", alice.UID, id("b"))
	bobs := of("2", bob.UID, id("b"))
	pulled := of("3", alice.UID, "")
	named := of("4", alice.UID, id("b"), "x:1")
	loaded := of("5", alice.UID, id("b"))
	s.must(s.Own(ctx, loaded, bob.UID, container.ByLoad))

	m, err := s.Begin(ctx, alice.UID, container.ByCommit, nil)
	s.must(err)
	_, err = s.End(ctx, m, true)
	s.must(err)
	if s.Owns(stage, alice.UID) {
		t.Error("a commit takes what a build has left")
	}
	m, err = s.Begin(ctx, alice.UID, container.ByBuild, nil)
	s.must(err)
	s.restart() // ds01 ends in between
	s.must(s.Recover(ctx))
	_, err = s.End(ctx, m, true)
	s.must(err)
	if !s.Owns(stage, alice.UID) {
		t.Error("the stage isn't hers")
	}
	for what, image := range map[string]string{"bob's": bobs, "one without a parent": pulled, "a named one": named, "one of bob's that says it is hers": loaded} {
		if s.Owns(image, alice.UID) {
			t.Errorf("%s is hers", what)
		}
	}
}

func TestWhatARegistryCanHave(t *testing.T) {
	for reference, want := range map[string]bool{
		"busybox": true, "reg:5000/x@sha256:" + id("1")[7:]: true, "deadbeef": true,
		id("1"): false, id("1")[7:]: false, "sha256:abc": false, "ds01-7/x": false, "docker.io/ds01-7/x": false, "A B": false,
	} {
		if got := curator.Pullable(reference); got != want {
			t.Errorf("%s: %t", reference, got)
		}
	}
}
