package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAFrozenGroupStandsStillUntilItIsThawed(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := filepath.Join(parent, "u1001", "container")
	for _, top := range hierarchies(tree) {
		if err := os.Mkdir(filepath.Join(top, group), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, group)
	count := filepath.Join(t.TempDir(), "count")
	t.Cleanup(func() { _ = tree.Thaw(group) }) // who stands still can't be killed
	running(t, tree, group, "echo ready; while :; do echo >>"+count+"; sleep 0.01; done")
	moves := func() bool {
		before := length(t, count)
		time.Sleep(60 * time.Millisecond)
		return length(t, count) != before
	}
	eventually(t, "it runs", moves)
	if tree.Frozen(group) {
		t.Error("it is said to be frozen")
	}
	for range 2 { // also when it is told twice
		if err := tree.Freeze(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		if !tree.Frozen(group) || moves() {
			t.Error("it goes on")
		}
	}
	for range 2 {
		if err := tree.Thaw(group); err != nil {
			t.Fatal(err)
		}
		if tree.Frozen(group) {
			t.Error("it is still frozen")
		}
		eventually(t, "it goes on", moves)
	}
}

func TestAGroupThatIsNotThereCannotBeFrozen(t *testing.T) {
	tree, parent := host(t)
	if err := tree.Freeze(t.Context(), filepath.Join(parent, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := tree.Thaw(filepath.Join(parent, "none")); err != nil || tree.Frozen(filepath.Join(parent, "none")) {
		t.Errorf("thaw: %v", err)
	}
}

// length returns how long a file is that may not be there yet.
func length(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(data)
}
