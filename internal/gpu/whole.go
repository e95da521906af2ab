package gpu

import (
	"cmp"
	"math/bits"
	"slices"
)

// chooseWhole finds a card for each want that gets a whole one.
func (pl *planner) chooseWhole() bool {
	n := len(pl.fulls)
	pl.whole = nil
	if n == 0 {
		return true
	}
	var all []int
	for i := range pl.bays {
		if b := &pl.bays[i]; !b.gone && b.isWhole() && (!b.mig || pl.takesSteps(b)) {
			all = append(all, i)
		}
	}
	if len(all) <= n {
		pl.whole = all
		return len(all) == n
	}
	near := pl.nearness(all)
	var best group
	for seed := range all {
		if g := pl.gather(all, near, seed, n); best.members == nil || g.compare(best) < 0 {
			best = g
		}
	}
	for _, m := range best.members {
		pl.whole = append(pl.whole, all[m])
	}
	slices.Sort(pl.whole)
	return true
}

// A group is cards that are chosen together, by their place among those there
// are.
type group struct {
	members []int
	resets  int
	near    int // the sum over all pairs
	toggles int
	cut     int // nearness to the cards that are left
}

func (g group) compare(o group) int {
	return cmp.Or(cmp.Compare(g.resets, o.resets), cmp.Compare(o.near, g.near), cmp.Compare(g.toggles, o.toggles),
		cmp.Compare(g.cut, o.cut), slices.Compare(slices.Sorted(slices.Values(g.members)), slices.Sorted(slices.Values(o.members))))
}

// gather takes the seed and then, n-1 times, the card that makes the group
// best. Of groups that grow from every seed the best is the best there is
// where closeness comes in islands, as NVLink and NUMA nodes do.
func (pl *planner) gather(all []int, near [][]int, seed, n int) group {
	g := pl.with(group{}, all, near, seed)
	for len(g.members) < n {
		var best group
		for i := range all {
			if slices.Contains(g.members, i) {
				continue
			}
			if next := pl.with(g, all, near, i); best.members == nil || next.compare(best) < 0 {
				best = next
			}
		}
		g = best
	}
	return g
}

func (pl *planner) with(g group, all []int, near [][]int, i int) group {
	b := &pl.bays[all[i]]
	if b.mig {
		g.toggles += 1 + bits.OnesCount64(uint64(b.free))
		if b.MIGResets {
			g.resets++
		}
	}
	inside := 0
	for _, m := range g.members {
		inside += near[i][m]
	}
	g.near += inside
	for j := range all {
		if j != i {
			g.cut += near[i][j]
		}
	}
	g.cut -= 2 * inside
	g.members = append(slices.Clip(g.members), i)
	return g
}

// How near two cards are: NVLink is worth more than any number of pairs on one
// NUMA node, which only share the way to memory.
const (
	nearNVLink = 1 << 16
	nearNUMA   = 1
)

func (pl *planner) nearness(all []int) [][]int {
	at := make(map[string]int, len(all))
	for i, b := range all {
		at[pl.bays[b].UUID] = i
	}
	near := make([][]int, len(all))
	for i := range all {
		near[i] = make([]int, len(all))
	}
	for i, b := range all {
		for _, peer := range pl.bays[b].Peers {
			if j, ok := at[peer]; ok && j != i {
				near[i][j], near[j][i] = nearNVLink, nearNVLink
			}
		}
	}
	for i, b := range all {
		for j, other := range all[:i] {
			if node := pl.bays[b].NUMANode; node >= 0 && node == pl.bays[other].NUMANode {
				near[i][j] += nearNUMA
				near[j][i] += nearNUMA
			}
		}
	}
	return near
}
