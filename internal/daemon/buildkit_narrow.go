package daemon

import (
	"context"
	"fmt"
	"path"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/systemd"
)

// narrows counts the builds in control groups that site policy has made narrow.
type narrows struct {
	mu    sync.Mutex
	count map[string]int
}

// Narrow makes a control group in the person's with less than they may have.
// Builds that have the same share it, so that BuildKit uses steps again: where
// they run is part of what it knows them by.
func (k kit) Narrow(ctx context.Context, who account.Account, h admission.HostConfig) (string, func(), error) {
	l := cgroup.Limits{Memory: bound(quantity.ByteSize(h.Memory)), CPUs: bound(quantity.CPUs(h.NanoCPUs)), MemoryHigh: quantity.None[quantity.ByteSize](), Tasks: quantity.None[int64]()}
	if h.PidsLimit != nil {
		l.Tasks = bound(*h.PidsLimit)
	}
	name := fmt.Sprintf("narrow_%d_%d_%d", l.Memory.Value, l.CPUs.Value, l.Tasks.Value)
	k.narrows.mu.Lock()
	defer k.narrows.mu.Unlock()
	group, err := k.host.within(ctx, who.UID, name, l)
	if err != nil {
		return "", nil, fmt.Errorf("make a narrower group: %w", err)
	}
	k.narrows.count[group]++
	return group, func() {
		k.narrows.mu.Lock()
		defer k.narrows.mu.Unlock()
		if k.narrows.count[group]--; k.narrows.count[group] == 0 {
			delete(k.narrows.count, group)
			k.host.leave(group)
		}
	}, nil
}

// idly does something while no build uses a narrow group, and none begins to.
func (n *narrows) idly(group string, do func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.count[group] > 0 {
		return problem.Because(problem.ErrConflict, "a build uses it")
	}
	return do()
}

// within makes a group in a person's.
func (h *host) within(ctx context.Context, uid int, name string, l cgroup.Limits) (string, error) {
	if h.bySystemd() {
		slice := systemd.Within(h.Parent(uid), name)
		return slice, h.systemd.Ensure(ctx, slice, systemd.Limits(l))
	}
	return path.Join(h.path(uid), name), h.tree.Ensure(h.path(uid), name, l)
}

// leave takes what within made away. A slice stays, as people's do.
func (h *host) leave(group string) {
	if !h.bySystemd() {
		_ = h.tree.RemoveGroup(group) // one in which a step still ends stays for the next
	}
}

// bound returns a bound of which 0 is none.
func bound[T ~int64](n T) quantity.Limit[T] {
	if n <= 0 {
		return quantity.None[T]()
	}
	return quantity.To(n)
}
