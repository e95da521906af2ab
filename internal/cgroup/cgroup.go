// Package cgroup keeps the control group of each person, which carries the
// limits over all their containers, and reads what groups use. It writes the
// files of cgroup v1 or v2 itself; where systemd owns the tree, see package
// systemd.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/quantity"
)

// A Tree is the host's control groups.
type Tree struct {
	root    string
	version int
}

// Controllers that v1 mounts apart and ds01 makes groups in.
func controllers() []string {
	return []string{"cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio", "cpuset"}
}

// Detect looks at the tree mounted at root, /sys/fs/cgroup on a host.
func Detect(root string) (*Tree, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return &Tree{root: root, version: 2}, nil
	}
	for _, c := range []string{"cpu", "memory", "pids"} {
		if _, err := os.Stat(filepath.Join(root, c, "cgroup.procs")); err != nil {
			return nil, fmt.Errorf("no control groups at %s: neither v2 nor v1 with %s", root, c)
		}
	}
	return &Tree{root: root, version: 1}, nil
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
// such as /ds01.
func (t *Tree) Ensure(ctx context.Context, parent, group string, l Limits) error {
	if t.version == 2 {
		return t.ensure2(parent, group, l)
	}
	return t.ensure1(ctx, parent, group, l)
}

// period is the length over which processor time is counted, in microseconds.
const period = 100_000

// quota returns the processor time per period; ok is false without a limit.
func quota(l quantity.Limit[quantity.CPUs]) (us int64, ok bool) {
	return int64(l.Value) * period / 1e9, !l.Unlimited
}

func (t *Tree) ensure1(_ context.Context, parent, group string, l Limits) error {
	for _, c := range controllers() {
		if _, err := os.Stat(filepath.Join(t.root, c)); err != nil {
			continue // not on this host
		}
		if err := makeGroup1(filepath.Join(t.root, c), parent, group, c == "cpuset"); err != nil {
			return err
		}
	}
	at := func(controller, file string) string { return filepath.Join(t.root, controller, parent, group, file) }
	cpu := "-1"
	if us, ok := quota(l.CPUs); ok {
		cpu = strconv.FormatInt(us, 10)
	}
	return errors.Join(
		write(at("cpu", "cpu.cfs_period_us"), strconv.Itoa(period)),
		write(at("cpu", "cpu.cfs_quota_us"), cpu),
		writeMemory1(at, l.Memory),
		write(at("pids", "pids.max"), orMax(l.Tasks)),
	)
}

func makeGroup1(root, parent, group string, cpuset bool) error {
	dir := root
	for part := range strings.SplitSeq(strings.Trim(filepath.Join(parent, group), "/"), "/") {
		above := dir
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // the kernel's own mode
			return fmt.Errorf("make group: %w", err)
		}
		if !cpuset {
			continue
		}
		// A cpuset group can't be used before it has processors and memory.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(filepath.Join(above, file), filepath.Join(dir, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

func inherit(from, to string) error {
	have, err := os.ReadFile(to) //nolint:gosec // a file of the kernel
	if err != nil {
		return fmt.Errorf("set up cpuset: %w", err)
	}
	if strings.TrimSpace(string(have)) != "" {
		return nil
	}
	value, err := os.ReadFile(from) //nolint:gosec // a file of the kernel
	if err != nil {
		return fmt.Errorf("set up cpuset: %w", err)
	}
	return write(to, strings.TrimSpace(string(value)))
}

// writeMemory1 sets memory and, where the kernel counts it, memory with swap.
// The sum may never be below the memory, so the order depends on the
// direction.
func writeMemory1(at func(controller, file string) string, l quantity.Limit[quantity.ByteSize]) error {
	value := "-1"
	if !l.Unlimited {
		value = strconv.FormatInt(int64(l.Value), 10)
	}
	memory, sum := at("memory", "memory.limit_in_bytes"), at("memory", "memory.memsw.limit_in_bytes")
	if _, err := os.Stat(sum); err != nil {
		return write(memory, value)
	}
	if err := write(memory, value); err == nil { // going down
		return write(sum, value)
	}
	return errors.Join(write(sum, value), write(memory, value)) // going up
}

func (t *Tree) ensure2(parent, group string, l Limits) error {
	dir := t.root
	for part := range strings.SplitSeq(strings.Trim(filepath.Join(parent, group), "/"), "/") {
		for _, c := range []string{"cpu", "memory", "pids", "io", "cpuset"} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o600) // one the host lacks is missed when its file is written
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // the kernel's own mode
			return fmt.Errorf("make group: %w", err)
		}
	}
	cpu := "max"
	if us, ok := quota(l.CPUs); ok {
		cpu = strconv.FormatInt(us, 10)
	}
	err := errors.Join(
		write(filepath.Join(dir, "cpu.max"), fmt.Sprintf("%s %d", cpu, period)),
		write(filepath.Join(dir, "memory.high"), orMax(l.MemoryHigh)),
		write(filepath.Join(dir, "memory.max"), orMax(l.Memory)),
		write(filepath.Join(dir, "pids.max"), orMax(l.Tasks)),
	)
	swap := filepath.Join(dir, "memory.swap.max")
	if _, serr := os.Stat(swap); serr == nil && !l.Memory.Unlimited {
		err = errors.Join(err, write(swap, "0"))
	}
	return err
}

func orMax[T ~int64](l quantity.Limit[T]) string {
	if l.Unlimited {
		return "max"
	}
	return strconv.FormatInt(int64(l.Value), 10)
}

func write(path, value string) error {
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil { //nolint:gosec // a file of the kernel
		return fmt.Errorf("set %s to %s: %w", filepath.Base(path), value, err)
	}
	return nil
}

// Remove removes parent/group and then parent, where they are empty. One that
// is in use is an error that wraps syscall.EBUSY.
func (t *Tree) Remove(parent, group string) error {
	var errs []error
	for _, root := range t.roots() {
		dir := filepath.Join(root, parent, group)
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove group: %w", err))
			continue
		}
		_ = os.Remove(filepath.Join(root, parent)) // stays while others are in it
	}
	return errors.Join(errs...)
}

func (t *Tree) roots() []string {
	if t.version == 2 {
		return []string{t.root}
	}
	var all []string
	for _, c := range controllers() {
		all = append(all, filepath.Join(t.root, c))
	}
	return all
}
