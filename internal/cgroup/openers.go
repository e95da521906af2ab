package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An Opener is a process that has a device open.
type Opener struct {
	PID  int
	Name string // of its program, cut off at 15 characters by the kernel
}

// Openers returns the processes in a group and those below it that have one of
// the character devices open or mapped, by pid. devices are as stat(2) gives
// them. A device on its way through a socket isn't seen.
func (t *Tree) Openers(group string, devices []uint64) ([]Opener, error) {
	var all []Opener
	for _, pid := range slices.Sorted(maps.Keys(processes(t.hierarchies(group)))) {
		opens, err := anyOpen(pid, devices)
		if err != nil {
			return nil, err
		}
		if opens {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			all = append(all, Opener{PID: pid, Name: cmp.Or(strings.TrimSpace(string(name)), "?")})
		}
	}
	return all, nil
}

// anyOpen reports whether a process has one of the devices open. One that has
// ended has none.
func anyOpen(pid int, devices []uint64) (bool, error) {
	for _, folder := range []string{"fd", "map_files"} {
		dir := fmt.Sprintf("/proc/%d/%s", pid, folder)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at what process %d has open: %w", pid, err)
		}
		for _, e := range entries {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, e.Name()), &st); err != nil {
				continue // closed meanwhile
			}
			if st.Mode&unix.S_IFMT == unix.S_IFCHR && slices.Contains(devices, st.Rdev) {
				return true, nil
			}
		}
	}
	return false, nil
}
