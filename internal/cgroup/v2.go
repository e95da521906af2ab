package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

func (t *Tree) ensure2(parent, group string, l Limits) error {
	above := t.root
	for _, dir := range levels(t.root, parent, group) {
		if err := errors.Join(enable(above), makeGroup(dir)); err != nil {
			return err
		}
		above = dir
	}
	cpu, swap := "max", "max"
	if us, limited := quota(l.CPUs); limited {
		cpu = fmt.Sprint(us)
	}
	if !l.Memory.Unlimited {
		swap = "0"
	}
	in := func(file string) string { return filepath.Join(above, file) }
	err := errors.Join(
		set(in("cpu.max"), fmt.Sprintf("%s %d", cpu, period)),
		set(in("memory.high"), orMax(l.MemoryHigh)),
		set(in("memory.max"), orMax(l.Memory)),
		set(in("pids.max"), orMax(l.Tasks)),
	)
	if exists(in("memory.swap.max")) { // else the kernel counts no swap
		err = errors.Join(err, set(in("memory.swap.max"), swap))
	}
	return err
}

// enable lets the groups in dir have the controllers that ds01 and the engine
// set, as far as the host has them.
func enable(dir string) error {
	has, err := text(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := text(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, c := range []string{"cpu", "memory", "pids", "io", "cpuset"} {
		if slices.Contains(strings.Fields(has), c) && !slices.Contains(strings.Fields(on), c) {
			if err := set(filepath.Join(dir, "cgroup.subtree_control"), "+"+c); err != nil {
				return err
			}
		}
	}
	return nil
}
