package cgroup_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/cgroup"
)

func TestStrainIsWhatTheKernelSays(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, 256*MiB, -1))
	group := filepath.Join(parent, "u1001")
	gauge := tree.Gauge(group)
	before, err := gauge.Strain()
	if err != nil || before.Limit != 256*MiB || before.Held != 0 || before.Throttled != 0 {
		t.Errorf("of nothing: %+v, %v", before, err)
	}
	running(t, tree, group, "x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo ready; while :; do :; done")
	ensure(t, tree, parent, bounds(0.1, 256*MiB, -1)) // only now: an emulated machine is slow enough
	var now cgroup.Strain
	eventually(t, "be held back", func() bool {
		time.Sleep(50 * time.Millisecond)
		now, err = gauge.Strain()
		return err != nil || now.Throttled > 2
	})
	if err != nil || now.Held < 7*MiB || now.Held > 128*MiB || now.Periods < now.Throttled || now.Peak < now.Held || now.Waiting < 0 || now.Waiting > 100 {
		t.Errorf("%+v, %v", now, err)
	}
	descriptors := len(open(t))
	if err := gauge.Close(); err != nil || len(open(t)) >= descriptors {
		t.Errorf("closed: %v, and %d of %d files are open", err, len(open(t)), descriptors)
	}
	if _, err := tree.Gauge(filepath.Join(parent, "none")).Strain(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no group: %v", err)
	}
	if percent, err := cgroup.HostWaiting(); err != nil || percent < 0 || percent > 100 {
		t.Errorf("the host: %v, %v", percent, err)
	}
}

// TestAGaugeOutlivesItsGroup: what is gone isn't there, although its files are
// still open.
func TestAGaugeOutlivesItsGroup(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, 256*MiB, -1))
	gauge := tree.Gauge(filepath.Join(parent, "u1001"))
	defer gauge.Close()
	if _, err := gauge.Strain(); err != nil {
		t.Fatal(err)
	}
	if err := tree.Remove(parent, "u1001"); err != nil {
		t.Fatal(err)
	}
	if s, err := gauge.Strain(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that is gone: %+v, %v", s, err)
	}
}

// open returns this process's open files.
func open(t *testing.T) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return all
}
