package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endPoll is the pause between two looks at whether killed processes are gone.
const endPoll = 10 * time.Millisecond

// End kills every process in a group, such as /ds01/u1001/<container id>, and
// below it, and removes the groups. It is for a container that an engine which
// was killed itself has lost sight of. killed tells how many processes there
// were; without the group it is 0. Processes that don't end before ctx does
// are an error.
func (t *Tree) End(ctx context.Context, group string) (killed int, err error) {
	roots := t.hierarchies(group)
	for {
		pids := processes(roots)
		if len(pids) == 0 {
			break
		}
		killed = max(killed, len(pids))
		for pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return killed, fmt.Errorf("end process %d of group %s: %w", pid, group, err)
			}
		}
		select {
		case <-ctx.Done():
			return killed, fmt.Errorf("end the %d processes of group %s: %w", len(pids), group, ctx.Err())
		case <-time.After(endPoll):
		}
	}
	for _, root := range roots {
		removeTree(root)
	}
	return killed, nil
}

// hierarchies returns where the group lies: in one place on v2, in one per
// set of controllers on v1.
func (t *Tree) hierarchies(group string) []string {
	var roots []string
	for _, mount := range t.mounts {
		if root := filepath.Join(mount, group); exists(root) {
			roots = append(roots, root)
		}
	}
	return roots
}

// processes returns who is in the groups at roots and below them.
func processes(roots []string) map[int]bool {
	pids := map[int]bool{}
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Base(path) != "cgroup.procs" {
				return nil //nolint:nilerr // a group that went has nobody in it
			}
			addMembers(path, pids)
			return nil
		})
	}
	return pids
}

// addMembers adds who is in one group, by its cgroup.procs.
func addMembers(path string, pids map[int]bool) {
	data, _ := os.ReadFile(path) //nolint:gosec // a file of the kernel
	for word := range strings.FieldsSeq(string(data)) {
		// 0 is a process of another pid namespace: not ours to see.
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids[pid] = true
		}
	}
}

// Holds reports whether a process is in a group, such as
// /ds01/u1001/<container id>, or below it.
func (t *Tree) Holds(group string, pid int) bool {
	pids := map[int]bool{}
	for _, mount := range t.mounts { // most often the first one tells
		if addMembers(filepath.Join(mount, group, "cgroup.procs"), pids); pids[pid] {
			return true
		}
	}
	return t.Processes(group)[pid]
}

// Processes returns who is in a group, or below it.
func (t *Tree) Processes(group string) map[int]bool { return processes(t.hierarchies(group)) }

// removeTree removes groups from the leaves up; one that is in use stays.
func removeTree(root string) {
	var groups []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	for _, group := range slices.Backward(groups) {
		_ = os.Remove(group) // the engine may be at it too
	}
}

// Children returns the names of the groups directly in a group, in order. An
// absent group has none.
func (t *Tree) Children(group string) []string {
	names := map[string]bool{}
	for _, root := range t.hierarchies(group) {
		entries, _ := os.ReadDir(root) // it may have gone meanwhile
		for _, e := range entries {
			if e.IsDir() {
				names[e.Name()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Clear removes a group with those below it where no process is in them. One
// that is in use stays, and is an error that wraps syscall.EBUSY.
func (t *Tree) Clear(group string) error {
	for _, root := range t.hierarchies(group) {
		removeTree(root)
	}
	if left := t.hierarchies(group); len(left) > 0 {
		return fmt.Errorf("remove group %s: %w", left[0], syscall.EBUSY)
	}
	return nil
}
