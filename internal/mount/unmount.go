package mount

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Unmount takes the mount at target away, with its mount point and the folder
// around it once that is empty. Who uses the mount keeps what is open. What
// isn't there is no error.
func Unmount(target string) error {
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // nothing is mounted there (any more)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	info, err := os.Lstat(target)
	if errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(filepath.Dir(target)) // who removed the target may have been killed before this
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at mount point: %w", err)
	}
	if !info.IsDir() && (!info.Mode().IsRegular() || info.Size() > 0) {
		return fmt.Errorf("remove mount point %s: it isn't one, it holds something", target)
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mount point: %w", err)
	}
	_ = os.Remove(filepath.Dir(target)) // stays while others are in it
	return nil
}

// List returns where something is mounted below folder, each path once,
// deepest first and then by name.
func List(folder string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return mountPoints(string(data), folder), nil
}

// mountPoints reads the kernel's table, proc_pid_mountinfo(5).
func mountPoints(table, folder string) []string {
	var all []string
	for _, m := range entries(table) {
		if strings.HasPrefix(m.target, folder+"/") {
			all = append(all, m.target)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")), cmp.Compare(a, b))
	})
	return slices.Compact(all)
}

// An entry is one mount: where it lies, and what it is said to be of.
type entry struct {
	target, source string
	root           string // a path in the file system
	device         string // "254:0"
}

// entries reads the kernel's table: the fifth field of a line is the mount
// point, the last but one the source, the fourth what of the source is mounted,
// the third the number of its device.
func entries(table string) []entry {
	var all []entry
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, entry{unescape(f[4]), unescape(f[len(f)-2]), unescape(f[3]), f[2]})
		}
	}
	return all
}

// unescape undoes the kernel's octal escapes for blanks in paths.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
