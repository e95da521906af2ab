// Package cgroup keeps the control group of each person, which carries the
// limits over all their containers, and reads what groups use. It writes the
// files of cgroup v1 or v2 itself; where systemd owns the tree, see package
// systemd.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"ds01.dev/ds01/internal/quantity"
)

// A Tree is the host's control groups. It is safe for concurrent use.
type Tree struct {
	root    string
	version int
	mounts  []string // where each hierarchy lies: one on v2, one per set of controllers on v1
}

// Detect looks at the tree mounted at root, /sys/fs/cgroup on a host.
func Detect(root string) (*Tree, error) {
	if exists(filepath.Join(root, "cgroup.controllers")) {
		return &Tree{root: root, version: 2, mounts: []string{root}}, nil
	}
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !exists(filepath.Join(root, c, "cgroup.procs")) {
			return nil, fmt.Errorf("no control groups at %s: neither v2 nor v1 with %s", root, c)
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("no control groups: %w", err)
	}
	t := &Tree{root: root, version: 1}
	for _, e := range entries {
		if e.IsDir() { // the links lead to these
			t.mounts = append(t.mounts, filepath.Join(root, e.Name()))
		}
	}
	return t, nil
}

// Version returns 1 or 2.
func (t *Tree) Version() int { return t.version }

// Limits bound a group with everything below it.
type Limits struct {
	CPUs       quantity.Limit[quantity.CPUs]
	Memory     quantity.Limit[quantity.ByteSize] // swap included: there is none beyond it
	MemoryHigh quantity.Limit[quantity.ByteSize] // v2 only: v1 has nothing like it
	Tasks      quantity.Limit[int64]
}

// Ensure makes parent/group where it is missing and gives it the limits;
// raising and lowering hold at once for what runs in it. parent is a path
// such as /ds01. Where nothing has changed, nothing is written.
//
// On v1, whatever below the group has more processor time than the group's
// new limit is lowered to it, and memory can't be lowered below what is in
// use: that error is of kind problem.ErrLimit.
func (t *Tree) Ensure(parent, group string, l Limits) error {
	if t.version == 2 {
		return t.ensure2(parent, group, l)
	}
	return t.ensure1(parent, group, l)
}

// period is the length over which processor time is counted, and leastQuota
// the least of it that the kernel takes, in microseconds.
const (
	period     = 100_000
	leastQuota = 1000
)

// quota returns the processor time per period; ok is false without a limit.
func quota(l quantity.Limit[quantity.CPUs]) (us int64, ok bool) {
	return max(int64(l.Value)/1000*period/1e6, leastQuota), !l.Unlimited
}

func orMax[T ~int64](l quantity.Limit[T]) string {
	if l.Unlimited {
		return "max"
	}
	return strconv.FormatInt(int64(l.Value), 10)
}

// levels returns the directories from below root down to a group.
func levels(root, parent, group string) []string {
	var all []string
	for part := range strings.SplitSeq(strings.Trim(filepath.Join(parent, group), "/"), "/") {
		root = filepath.Join(root, part)
		all = append(all, root)
	}
	return all
}

// makeGroup makes one group; one that exists is no error.
func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // the kernel's own mode
		return fmt.Errorf("make group: %w", err)
	}
	return nil
}

// set gives a file of the kernel a value where it has another one: a change
// of limits takes locks and looks through all processors.
func set(path, value string) error {
	if have, err := slurp(path); err == nil && strings.TrimSpace(string(have)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		if !exists(path) { // making a file there isn't permitted
			err = fs.ErrNotExist
		}
		return fmt.Errorf("set %s to %s: %w", path, value, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Remove removes parent/group and then parent, where they are empty. A group
// that isn't there is no error; one that is in use is one that wraps
// syscall.EBUSY.
func (t *Tree) Remove(parent, group string) error {
	var errs []error
	for _, root := range t.roots() {
		if err := os.Remove(filepath.Join(root, parent, group)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove group: %w", err))
			continue
		}
		_ = os.Remove(filepath.Join(root, parent)) // stays while others are in it
	}
	return errors.Join(errs...)
}

// RemoveGroup removes one group, and nothing that it is in: from every
// hierarchy, since runc makes it in those, too, that ds01 has no limits in.
// Errors are as Remove's.
func (t *Tree) RemoveGroup(group string) error {
	roots := []string{t.root}
	if t.version == 1 {
		var err error
		if roots, err = filepath.Glob(filepath.Join(t.root, "*")); err != nil {
			return fmt.Errorf("remove group: %w", err)
		}
	}
	var errs []error
	for _, root := range roots {
		if err := os.Remove(filepath.Join(root, group)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			errs = append(errs, fmt.Errorf("remove group: %w", err))
		}
	}
	return errors.Join(errs...)
}

// roots returns the roots of the hierarchies that ds01 makes groups in.
func (t *Tree) roots() []string {
	if t.version == 2 {
		return []string{t.root}
	}
	var all []string
	for _, c := range []string{"cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio", "cpuset"} {
		if dir := filepath.Join(t.root, c); exists(dir) { // else not on this host
			all = append(all, dir)
		}
	}
	return all
}
