package mount

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespace returns a user namespace that holds the mapping from ids on disk
// to ids as the mount shows them. Nobody runs in it: it is made with a child
// that is ended before its first instruction.
func namespace(o Owner, m Mapping) (*os.File, error) {
	uids := extents([]pair{{o.UID, m.HostBase + m.ContainerUID}}, m)
	pairs := []pair{{o.GID, m.HostBase + m.ContainerGID}}
	for _, g := range o.Groups {
		pairs = append(pairs, pair{g, m.HostBase + g})
	}
	gids := extents(pairs, m)
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	// Tracing belongs to a thread, so the child's whole life is on one.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		file, err := bear(uids, gids)
		done <- result{file, err}
	}()
	res := <-done
	return res.file, res.err
}

func bear(uids, gids []syscall.SysProcIDMap) (file *os.File, err error) {
	child := exec.Command("/proc/self/exe") //nolint:noctx // it ends a few lines below
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: uids, GidMappings: gids,
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		kerr := child.Process.Kill()
		_ = child.Wait() // it was killed, so it reports a failure
		err = errors.Join(err, kerr)
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Process.Pid))
}

// A pair maps one id on disk to the id the mount shows.
type pair struct{ disk, shown int }

// extents returns the map: the pairs, and every other id on disk as itself,
// but for those in the container's range, which are left out: a file of theirs
// must not become anybody's. Of two pairs with one side in common the first
// holds.
func extents(pairs []pair, m Mapping) []syscall.SysProcIDMap {
	var kept []pair
	for _, p := range pairs {
		clash := func(k pair) bool { return k.disk == p.disk || k.shown == p.shown }
		if p.shown-m.HostBase < m.HostSize && !slices.ContainsFunc(kept, clash) {
			kept = append(kept, p)
		}
	}
	slices.SortFunc(kept, func(a, b pair) int { return cmp.Compare(a.disk, b.disk) })
	var out []syscall.SysProcIDMap
	next := 0
	same := func(from, to int) { // [from, to) as itself, without the container's range
		for _, r := range [][2]int{{from, min(to, m.HostBase)}, {max(from, m.HostBase+m.HostSize), to}} {
			if r[0] < r[1] {
				out = append(out, syscall.SysProcIDMap{ContainerID: r[0], HostID: r[0], Size: r[1] - r[0]})
			}
		}
	}
	for _, p := range kept {
		same(next, p.disk)
		out = append(out, syscall.SysProcIDMap{ContainerID: p.disk, HostID: p.shown, Size: 1})
		next = p.disk + 1
	}
	same(next, 1<<32-1)
	return out
}

// setGroups sets the supplementary groups of this thread alone.
func setGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}
