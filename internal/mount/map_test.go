package mount

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the numbers are, the map gives the container only the owner's own
// ids, never shows two ids as one, and fits into what the kernel takes.
func TestMapsGiveTheContainerNothingButTheOwners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.IntRange(1, ids-1).Draw(t, "base")
		m := Mapping{HostBase: base, HostSize: rapid.IntRange(1, ids-base).Draw(t, "size")}
		near := rapid.OneOf(rapid.IntRange(0, ids-1), rapid.IntRange(0, 9), rapid.IntRange(max(base-3, 0), min(base+3, ids-1)), rapid.IntRange(1000, 1300))
		var pairs []pair
		mine := map[pair]bool{}
		for i, g := range rapid.SliceOfN(near, 1, 400).Draw(t, "groups") {
			p := pair{g, base + g}
			if i == 0 {
				p.shown = base + rapid.IntRange(0, m.HostSize-1).Draw(t, "container")
			}
			pairs = append(pairs, p)
			mine[p] = true
		}
		all := extents(pairs, m)
		if !fits(all) {
			t.Fatalf("the kernel refuses %d lines", len(all))
		}
		inside := func(from, size int) bool { return from < base+m.HostSize && from+size > base }
		for i, e := range all {
			if e.Size < 1 || e.ContainerID < 0 || e.HostID < 0 || e.ContainerID+e.Size > ids || e.HostID+e.Size > ids {
				t.Fatalf("%v goes beyond what ids there are", e)
			}
			if inside(e.ContainerID, e.Size) {
				t.Fatalf("%v maps what lies on disk in the container's range", e)
			}
			if inside(e.HostID, e.Size) && (e.Size != 1 || !mine[pair{e.ContainerID, e.HostID}]) {
				t.Fatalf("%v gives the container what isn't the owner's", e)
			}
			if !inside(e.HostID, e.Size) && e.ContainerID != e.HostID {
				t.Fatalf("%v shows an id as another of the host", e)
			}
			for _, o := range all[:i] {
				if overlap(e.ContainerID, o.ContainerID, e, o) || overlap(e.HostID, o.HostID, e, o) {
					t.Fatalf("%v and %v overlap", e, o)
				}
			}
		}
	})
}

func overlap(a, b int, first, second syscall.SysProcIDMap) bool {
	return a < b+second.Size && b < a+first.Size
}

func FuzzMountPoints(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /a/b\\040c rw,noatime master:1 - ext3 /dev/root rw\n", "/a")
	f.Add("36 35 98:0 / /a/\\134040 rw - tmpfs t rw\n36 35 98:0 / /a rw - tmpfs t rw", "/a")
	f.Fuzz(func(t *testing.T, table, folder string) {
		depth := -1
		for _, path := range mountPoints(table, folder) {
			if !strings.HasPrefix(path, folder+"/") {
				t.Errorf("%q doesn't lie in %q", path, folder)
			}
			now := strings.Count(path, string(filepath.Separator))
			if depth >= 0 && now > depth {
				t.Errorf("%q comes after a less deep one", path)
			}
			depth = now
		}
	})
}
