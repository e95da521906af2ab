package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func (t *Tree) ensure1(parent, group string, l Limits) error {
	for _, root := range t.roots() {
		if err := makeGroups1(levels(root, parent, group), filepath.Base(root) == "cpuset"); err != nil {
			return err
		}
	}
	at := func(controller string) string { return filepath.Join(t.root, controller, parent, group) }
	return errors.Join(
		setCPUs1(at("cpu"), l.CPUs),
		setMemory1(at("memory"), l.Memory),
		set(filepath.Join(at("pids"), "pids.max"), orMax(l.Tasks)),
	)
}

// makeGroups1 makes groups, each below the one before: where the last is, all are.
func makeGroups1(dirs []string, cpuset bool) error {
	if last := dirs[len(dirs)-1]; exists(last) && (!cpuset || usable(last)) {
		return nil
	}
	for _, dir := range dirs {
		if err := makeGroup(dir); err != nil {
			return err
		}
		if !cpuset {
			continue
		}
		for _, file := range cpusetFiles() {
			if err := inherit(dir, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// cpusetFiles are what a group of the cpuset controller can't be used without.
func cpusetFiles() []string { return []string{"cpuset.cpus", "cpuset.mems"} }

func usable(dir string) bool {
	return !slices.ContainsFunc(cpusetFiles(), func(file string) bool {
		have, err := text(filepath.Join(dir, file))
		return err != nil || have == ""
	})
}

// inherit gives a group what the one above it has, where it has nothing itself.
func inherit(dir, file string) error {
	if have, err := text(filepath.Join(dir, file)); err != nil || have != "" {
		return err
	}
	above, err := text(filepath.Join(filepath.Dir(dir), file))
	if err != nil {
		return err
	}
	return set(filepath.Join(dir, file), above)
}

func text(path string) (string, error) {
	data, err := slurp(path)
	if err != nil {
		return "", fmt.Errorf("read control group: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// setCPUs1 sets processor time. The kernel refuses less than what a group
// below has, so those are lowered first.
func setCPUs1(dir string, l quantity.Limit[quantity.CPUs]) error {
	us, limited := quota(l)
	if !limited {
		return set(filepath.Join(dir, quotaFile), "-1")
	}
	if err := set(filepath.Join(dir, "cpu.cfs_period_us"), strconv.Itoa(period)); err != nil {
		return err
	}
	err := set(filepath.Join(dir, quotaFile), strconv.FormatInt(us, 10))
	if !errors.Is(err, syscall.EINVAL) {
		return err
	}
	if err := lowerBelow(dir, us); err != nil {
		return err
	}
	return set(filepath.Join(dir, quotaFile), strconv.FormatInt(us, 10))
}

const quotaFile = "cpu.cfs_quota_us"

// lowerBelow lowers the groups below dir to us per period, the deepest first.
func lowerBelow(dir string, us int64) error {
	below, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read control group: %w", err)
	}
	for _, e := range below {
		if !e.IsDir() {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if err := errors.Join(lowerBelow(sub, us), lower(sub, us)); err != nil {
			return err
		}
	}
	return nil
}

func lower(dir string, us int64) error {
	r := reader{}
	has, per := r.number(filepath.Join(dir, quotaFile)), r.number(filepath.Join(dir, "cpu.cfs_period_us"))
	if errors.Is(r.err, fs.ErrNotExist) {
		return nil // it has ended meanwhile
	}
	most := max(us*per/period, leastQuota)
	if r.err != nil || has <= most { // -1: no limit of its own
		return r.err
	}
	return set(filepath.Join(dir, quotaFile), strconv.FormatInt(most, 10))
}

// setMemory1 sets memory and, where the kernel counts it, memory with swap.
// The sum may never be below the memory, so the order depends on the
// direction.
func setMemory1(dir string, l quantity.Limit[quantity.ByteSize]) error {
	value := int64(-1)
	if !l.Unlimited {
		value = int64(l.Value)
	}
	files := []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
	if sum := filepath.Join(dir, files[1]); !exists(sum) {
		files = files[:1]
	} else {
		r := reader{}
		if has := r.number(sum); value < 0 || has < value {
			files[0], files[1] = files[1], files[0]
		}
		if r.err != nil {
			return r.err
		}
	}
	for _, file := range files {
		err := set(filepath.Join(dir, file), strconv.FormatInt(value, 10))
		if errors.Is(err, syscall.EBUSY) {
			return problem.Because(problem.ErrLimit, "what runs there holds more memory than its new limit of "+l.Value.String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
