package daemon

import (
	"context"
	"fmt"
	"path"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/quantity"
)

// narrows counts the builds in control groups that site policy has made narrow.
type narrows struct {
	mu    sync.Mutex
	count map[string]int
}

// Narrow makes a control group in the person's with less than they may have.
// Builds that have the same share it, so that BuildKit uses steps again: where
// they run is part of what it knows them by.
func (k kit) Narrow(_ context.Context, who account.Account, h admission.HostConfig) (string, func(), error) {
	l := cgroup.Limits{Memory: within(quantity.ByteSize(h.Memory)), CPUs: within(quantity.CPUs(h.NanoCPUs)), MemoryHigh: quantity.None[quantity.ByteSize](), Tasks: quantity.None[int64]()}
	if h.PidsLimit != nil {
		l.Tasks = within(*h.PidsLimit)
	}
	parent, name := k.host.path(who.UID), fmt.Sprintf("narrow-%d-%d-%d", l.Memory.Value, l.CPUs.Value, l.Tasks.Value)
	group := path.Join(parent, name)
	k.narrows.mu.Lock()
	defer k.narrows.mu.Unlock()
	if err := k.host.tree.Ensure(parent, name, l); err != nil {
		return "", nil, fmt.Errorf("make a narrower group: %w", err)
	}
	k.narrows.count[group]++
	return group, func() {
		k.narrows.mu.Lock()
		defer k.narrows.mu.Unlock()
		if k.narrows.count[group]--; k.narrows.count[group] == 0 {
			delete(k.narrows.count, group)
			_ = k.host.tree.RemoveGroup(group) // one in which a step still ends stays for the next
		}
	}, nil
}

// within returns a bound of which 0 is none.
func within[T ~int64](n T) quantity.Limit[T] {
	if n <= 0 {
		return quantity.None[T]()
	}
	return quantity.To(n)
}
