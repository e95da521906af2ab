// Package storetest tries properties of what keeps its state in a store for many steps.
package storetest

import (
	"os"
	"path/filepath"
	"testing"
)

// memory is a folder in memory, which every Linux has: a million commits to a disk
// take hours.
const memory = "/dev/shm"

// Many counts the steps of one property.
type Many struct {
	t     *testing.T
	steps int
	most  int
	dir   string
}

// Try returns one that is tried once, or in the long suite for as many steps.
func Try(t *testing.T, steps int) *Many {
	t.Helper()
	m := &Many{t: t, most: 1, dir: t.TempDir()}
	if os.Getenv("DS01_TEST_LONG") == "" { //nolint:forbidigo // tests alone use it
		return m
	}
	m.most = steps
	if racing {
		m.most /= 50 // make test-long does all without
	}
	dir, err := os.MkdirTemp(memory, "ds01t-") //nolint:usetesting // its folders lie on a disk
	if err != nil {
		t.Fatal(err)
	}
	m.dir = dir
	t.Cleanup(func() {
		t.Logf("%d steps", m.steps)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return m
}

// More reports whether it is to be tried once more.
func (m *Many) More() bool { return m.steps < m.most && !m.t.Failed() }

// Step counts one.
func (m *Many) Step() { m.steps++ }

// Folder returns a folder for one try's database, and done, which empties it.
func (m *Many) Folder() (dir string, done func()) {
	dir = filepath.Join(m.dir, "try")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) } // the next try finds what is left
}
