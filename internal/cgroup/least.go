package cgroup

import (
	"path/filepath"
	"strconv"

	"ds01.dev/ds01/internal/quantity"
)

// margin is what is left free above what can't be taken back, so that a
// program that goes on as before isn't ended: an eighth, and no less than this.
const leastMargin = 16 << 20

// Least has the kernel take back what a group can do without, the page cache
// above all, until it holds no more than to, and returns the least limit of
// memory at which nothing in it would be ended: what it still holds and a
// margin, or less than to. Nobody is held up for longer than that takes.
//
// On v1 nothing is taken back: the kernel does that when the limit is written,
// and refuses what it can't have.
func (t *Tree) Least(group string, to quantity.ByteSize) (quantity.ByteSize, error) {
	held, used, err := t.memory(group)
	if err != nil {
		return 0, err
	}
	least := withMargin(held)
	if t.version == 1 || used <= int64(to) {
		return least, nil
	}
	if err := shrink(filepath.Join(t.root, group, "memory.high"), max(to, least)); err != nil {
		return 0, err
	}
	if held, used, err = t.memory(group); err != nil {
		return 0, err
	}
	least = withMargin(held)
	if used > int64(max(to, least)) { // the kernel would end something for what it couldn't take back
		least = withMargin(used)
	}
	return least, nil
}

// shrink has the kernel reclaim memory, which it does while this file is
// written, and puts back what stood there: above memory.high programs are
// slowed down.
func shrink(high string, to quantity.ByteSize) error {
	before, err := text(high)
	if err != nil {
		return err
	}
	if has, err := strconv.ParseInt(before, 10, 64); err == nil && has <= int64(to) {
		return nil // it is held to less already
	}
	if err := set(high, strconv.FormatInt(int64(to), 10)); err != nil {
		return err
	}
	return set(high, before)
}

// memory returns what a group uses, and what of that can't be taken back.
func (t *Tree) memory(group string) (held, used int64, err error) {
	folder, usage, prefix := filepath.Join(t.root, group), "memory.current", ""
	if t.version == 1 {
		folder, usage, prefix = filepath.Join(t.root, "memory", group), "memory.usage_in_bytes", "total_"
	}
	r := reader{}
	used = r.number(filepath.Join(folder, usage))
	stat := filepath.Join(folder, "memory.stat")
	all := r.read(stat)
	held = max(used-r.fieldOf(all, stat, prefix+"inactive_file")-r.fieldOf(all, stat, prefix+"active_file"), 0)
	return held, used, r.err
}

func withMargin(held int64) quantity.ByteSize {
	return quantity.ByteSize(held + max(held/8, leastMargin))
}

// Limit returns a group's limit of memory, 0 for none.
func (t *Tree) Limit(group string) (quantity.ByteSize, error) {
	path := filepath.Join(t.root, group, "memory.max")
	if t.version == 1 {
		path = filepath.Join(t.root, "memory", group, "memory.limit_in_bytes")
	}
	r := reader{}
	has := limitOf(&r, path)
	return has, r.err
}

// limitOf reads a limit of memory, 0 for none.
func limitOf(r *reader, path string) quantity.ByteSize {
	has := r.number(path)
	if has >= unlimited {
		return 0
	}
	return quantity.ByteSize(has)
}
