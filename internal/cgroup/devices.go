package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Allow lets the processes of a group open the character device major:minor
// for reading and writing, if the groups above may: where they may not it is an error
// on v1, and changes nothing on v2. There it is an error that wraps
// errors.ErrUnsupported where what decides of the group's devices can't be copied. An
// absent group is an error that wraps os.ErrNotExist.
func (t *Tree) Allow(group string, major, minor uint32) error {
	if t.version == 2 {
		return t.allow2(group, major, minor)
	}
	return t.rule(group, "devices.allow", fmt.Sprintf("c %d:%d rw", major, minor))
}

// Deny makes further opens of the character device major:minor fail in a
// group and in those below it; what is open already stays open. Errors are
// those of Allow.
func (t *Tree) Deny(group string, major, minor uint32) error {
	if t.version == 2 {
		return t.deny2(group, major, minor)
	}
	return t.rule(group, "devices.deny", fmt.Sprintf("c %d:%d rwm", major, minor))
}

// MayOpen reports whether the processes of a group may open the character device
// major:minor for reading and writing. On v2, where no file tells, it is an error
// that wraps errors.ErrUnsupported.
func (t *Tree) MayOpen(group string, major, minor uint32) (bool, error) {
	if t.version == 2 {
		return false, fmt.Errorf("read the devices of %s: cgroup v2 has no file for it: %w", group, errors.ErrUnsupported)
	}
	list, err := text(filepath.Join(t.root, "devices", group, "devices.list"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(list) {
		if covers(strings.Fields(line), major, minor) {
			return true, nil
		}
	}
	return false, nil
}

// covers reports whether a rule as the kernel lists it, "c 195:* rwm", lets a
// character device be read and written.
func covers(rule []string, major, minor uint32) bool {
	if len(rule) != 3 || rule[0] != "a" && rule[0] != "c" || !strings.Contains(rule[2], "r") || !strings.Contains(rule[2], "w") {
		return false
	}
	is := func(number string, n uint32) bool {
		return number == "*" || number == strconv.FormatUint(uint64(n), 10)
	}
	ofMajor, ofMinor, _ := strings.Cut(rule[1], ":")
	return is(ofMajor, major) && is(ofMinor, minor)
}

func (t *Tree) rule(group, file, rule string) error {
	// Opened as it is: a file that isn't there is told apart from one that
	// must not be made.
	f, err := os.OpenFile(filepath.Join(t.root, "devices", group, file), os.O_WRONLY, 0) //nolint:gosec // a file of the kernel
	if err != nil {
		return fmt.Errorf("change the devices of a group: %w", err)
	}
	_, err = f.WriteString(rule)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q to %s of %s: %w", rule, file, group, err)
	}
	return nil
}
