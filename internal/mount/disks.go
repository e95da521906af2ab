package mount

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Disk is a whole disk by its number: what the kernel bounds rates of.
type Disk struct{ Major, Minor uint32 }

// Disks returns the disks that folders lie on, in order, and which folders lie
// on none: memory and file servers. It asks the kernel's tables and touches no
// folder, so that a file server that is gone keeps nobody waiting. Of a file
// system on several disks it knows one.
func Disks(folders ...string) (disks []Disk, without []string, err error) {
	all, err := around(folders)
	if err != nil {
		return nil, nil, fmt.Errorf("list mounts: %w", err)
	}
	for _, folder := range folders {
		d, ok := holding(all, folder).disk()
		switch {
		case !ok:
			without = append(without, folder)
		case !slices.Contains(disks, d):
			disks = append(disks, d)
		}
	}
	slices.SortFunc(disks, func(a, b Disk) int { return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor)) })
	return disks, without, nil
}

// around returns the mounts that any of the folders lie in. The table is long where
// many containers run, and is never held as a whole.
func around(folders []string) (all []entry, err error) {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer table.Close() //nolint:errcheck // read only
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := bytes.SplitN(lines.Bytes(), []byte(" "), 6)
		if len(fields) < 6 {
			continue
		}
		target := unescape(string(fields[4]))
		if slices.ContainsFunc(folders, func(f string) bool { _, in := within(target, f); return in }) {
			all = append(all, entries(lines.Text())...)
		}
	}
	return all, lines.Err()
}

// holding returns the mount that a path lies in: the innermost, and of those at
// one place the last.
func holding(all []entry, path string) entry {
	var found entry
	for _, m := range all {
		if _, in := within(m.target, path); in && len(m.target) >= len(found.target) {
			found = m
		}
	}
	return found
}

// disk returns the disk that the mount's file system lies on. Some file
// systems, btrfs among them, have a number of their own and name their disk.
func (m entry) disk() (Disk, bool) {
	var d Disk
	if _, err := fmt.Sscanf(m.device, "%d:%d", &d.Major, &d.Minor); err != nil {
		return d, false
	}
	if d.Major == 0 {
		var st unix.Stat_t
		if !strings.HasPrefix(m.source, "/dev/") || unix.Stat(m.source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return d, false
		}
		d = Disk{unix.Major(st.Rdev), unix.Minor(st.Rdev)}
	}
	return d.whole("/sys/dev/block")
}

// whole returns the disk that a partition is one of, else the disk itself.
// numbers is where the kernel shows block devices by their numbers.
func (d Disk) whole(numbers string) (Disk, bool) {
	folder, err := filepath.EvalSymlinks(fmt.Sprintf("%s/%d:%d", numbers, d.Major, d.Minor))
	if err != nil {
		return d, false
	}
	if _, err := os.Stat(filepath.Join(folder, "partition")); err != nil {
		return d, true
	}
	number, err := os.ReadFile(filepath.Join(filepath.Dir(folder), "dev"))
	if err != nil {
		return d, false
	}
	_, err = fmt.Sscanf(string(number), "%d:%d", &d.Major, &d.Minor)
	return d, err == nil
}
