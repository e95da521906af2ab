package mount

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"ds01.dev/ds01/internal/problem"
)

// ids is how many user or group ids Linux has; the last number means none.
const ids = 1<<32 - 1

// What the kernel takes as a map, user_namespaces(7): so many lines, and less
// than a page of text.
const (
	maxExtents  = 340
	maxMapBytes = 4095
)

// check refuses a mapping that would give nothing, or too much.
func (m Mapping) check(o Owner) error {
	within := func(id, from, size int) bool { return id >= from && id-from < size }
	switch {
	case m.HostBase <= 0 || m.HostSize <= 0 || m.HostSize > ids-m.HostBase:
		return fmt.Errorf("the engine's range of ids, %d from %d, can't be mapped to", m.HostSize, m.HostBase)
	case !within(m.ContainerUID, 0, m.HostSize) || !within(m.ContainerGID, 0, m.HostSize):
		return problem.Because(problem.ErrInvalid, fmt.Sprintf("the container's user %d:%d lies outside its %d ids", m.ContainerUID, m.ContainerGID, m.HostSize))
	case within(o.UID, m.HostBase, m.HostSize) || within(o.GID, m.HostBase, m.HostSize):
		return fmt.Errorf("the account %d:%d lies in the engine's range of ids, which is the containers'", o.UID, o.GID)
	}
	return nil
}

// maps returns the mapping from ids on disk to ids as the mount shows them.
func (m Mapping) maps(o Owner) (uids, gids []syscall.SysProcIDMap) {
	pairs := []pair{{o.GID, m.HostBase + m.ContainerGID}}
	for _, g := range o.Groups {
		pairs = append(pairs, pair{g, m.HostBase + g})
	}
	return extents([]pair{{o.UID, m.HostBase + m.ContainerUID}}, m), extents(pairs, m)
}

// nobodys is an id that no account has: the last there is, in 32 bits, before
// the one that means none.
const nobodys = ids - 1

// withoutRoot returns a mapping in which every id is itself, but that the
// host's root is none of them: what root makes through such a mount, it makes
// for nobody, and so not at all. Files of root's are shown as nobody's, and
// their modes count for everybody else as ever.
func withoutRoot() (uids, gids []syscall.SysProcIDMap) {
	uids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobodys, Size: 1}, {ContainerID: 1, HostID: 1, Size: nobodys - 1}}
	return uids, []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: ids}}
}

// namespace returns a user namespace that holds the maps. Nobody runs in it:
// it is made with a child that is ended before its first instruction.
func namespace(uids, gids []syscall.SysProcIDMap) (*os.File, error) {
	// Tracing belongs to a thread, so the child's whole life is on one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child := exec.Command("/proc/self/exe") //nolint:noctx // it ends a few lines below
	child.Env = []string{}
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: uids, GidMappings: gids,
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		_ = child.Process.Kill() // it can't have ended, and waits for its tracer
		_ = child.Wait()         // it was killed, so it reports a failure
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Process.Pid))
}

// A pair maps one id on disk to the id the mount shows.
type pair struct{ disk, shown int }

// extents returns the map: the pairs, and every other id on disk as itself,
// but for those in the container's range, which are left out: a file of theirs
// must not become anybody's. Of two pairs with one side in common the first
// holds; those at the end that don't fit are left out.
func extents(pairs []pair, m Mapping) []syscall.SysProcIDMap {
	inRange := func(id int) bool { return id >= m.HostBase && id-m.HostBase < m.HostSize }
	var kept []pair
	for _, p := range pairs {
		clash := func(k pair) bool { return k.disk == p.disk || k.shown == p.shown }
		if inRange(p.shown) && !inRange(p.disk) && !slices.ContainsFunc(kept, clash) {
			kept = append(kept, p)
		}
	}
	for {
		if all := lay(kept, m); fits(all) {
			return all
		}
		kept = kept[:len(kept)-1]
	}
}

func lay(pairs []pair, m Mapping) []syscall.SysProcIDMap {
	var out []syscall.SysProcIDMap
	same := func(from, to int) { // [from, to) as itself, without the container's range
		for _, r := range [][2]int{{from, min(to, m.HostBase)}, {max(from, m.HostBase+m.HostSize), to}} {
			if r[0] < r[1] {
				out = append(out, syscall.SysProcIDMap{ContainerID: r[0], HostID: r[0], Size: r[1] - r[0]})
			}
		}
	}
	next := 0
	for _, p := range slices.SortedFunc(slices.Values(pairs), func(a, b pair) int { return cmp.Compare(a.disk, b.disk) }) {
		same(next, p.disk)
		out = append(out, syscall.SysProcIDMap{ContainerID: p.disk, HostID: p.shown, Size: 1})
		next = p.disk + 1
	}
	same(next, ids)
	return out
}

func fits(all []syscall.SysProcIDMap) bool {
	size := 0
	for _, e := range all {
		size += len(fmt.Sprintf("%d %d %d\n", e.ContainerID, e.HostID, e.Size))
	}
	return len(all) <= maxExtents && size <= maxMapBytes
}
