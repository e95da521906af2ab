// Package mount opens a person's directory or file with that person's own
// rights and puts a clone of it, nosuid and nodev, at a path that belongs to
// root. It never follows a symbolic link and never mounts by name: what was
// opened is what is mounted.
package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// An Owner is whose rights open the source.
type Owner struct {
	UID, GID int
	Groups   []int // supplementary groups
}

// A Mapping makes the owner's files the container user's own, and each of the
// owner's supplementary groups g the container's group g. Everybody else's ids
// stay as they are on disk, so outside the container's range: neither root in
// the container nor anybody else there can act as their owner. Ids on disk
// that lie in the container's range are not mapped at all.
//
// A supplementary group is left out, and so gives no rights in the container,
// if its number is ContainerGID or lies beyond the container's range, and
// from where the map is longer than the kernel takes: after some 80 groups.
type Mapping struct {
	ContainerUID, ContainerGID int // the user the container runs as
	HostBase, HostSize         int // the engine's remapped range: container id 0 is HostBase on the host
}

// A Request is one mount.
type Request struct {
	Source   string // absolute
	Root     string // Source is Root or lies below it; absolute, not "/"
	Target   string // where it goes; its folder is root's and closed to others, and made where it is missing
	ReadOnly bool
	Owner    Owner
	Idmap    *Mapping // nil: ids are shown as they are, and root makes nothing in the mount where that can be kept from it

	Shared bool     // it needn't be the owner's: who can get into it may mount it
	Alone  bool     // what is mounted below it is left out; else it is refused
	Closed []string // folders that a source is not in and does not hold

	Namespaces *Namespaces // where those of mappings are kept; nil: nowhere
	Waits      *Waits      // who waits for file systems; nil: nobody else
}

// ErrCannotIdmap says that the source's file system can't map ids. It is of
// kind problem.ErrInvalid.
var ErrCannotIdmap = problem.Because(problem.ErrInvalid, "its file system can't map ids")

func failed(r Request, why error, next string) error {
	return &problem.Error{What: r.Source + " can't be mounted", Why: why, Next: next}
}

func refuse(r Request, why, next string) error {
	return failed(r, problem.Because(problem.ErrDenied, why), next)
}

// Prepare opens the source as Mount will, and makes the target: a folder for
// a directory, an empty file for a file. Nothing is mounted. Errors that the
// owner can mend are of kind problem.ErrDenied or problem.ErrInvalid; that the
// source's file system doesn't answer is problem.ErrUnavailable.
func Prepare(r Request) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer source.close()
	return makeTarget(source, r.Target)
}

// Mappable opens the source as Mount will, and reports whether its file system
// can map ids. Nothing is mounted. Errors are as for Prepare.
func Mappable(r Request) (bool, error) {
	source, err := open(r)
	if err != nil {
		return false, err
	}
	defer source.close()
	tree, err := clone(source, r)
	if err != nil {
		return false, err
	}
	defer unix.Close(tree) //nolint:errcheck // it was only asked
	err = mapIDs(tree, r)
	if errors.Is(err, ErrCannotIdmap) {
		return false, nil
	}
	return err == nil, err
}

func clone(s source, r Request) (int, error) {
	tree, err := unix.OpenTree(s.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, fmt.Errorf("clone %s: %w", r.Source, err)
	}
	return tree, nil
}

// Mount opens the source, clones it without what is mounted below it, and
// puts the clone at the target, in place of what was mounted there.
func Mount(r Request) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer source.close()
	tree, err := clone(source, r)
	if err != nil {
		return err
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	if err := restrict(tree, r); err != nil {
		return err
	}
	if err := Unmount(r.Target); err != nil {
		return err
	}
	if err := makeTarget(source, r.Target); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, r.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", r.Source, err)
	}
	return nil
}

// restrict takes from the clone what would let it harm the host.
func restrict(tree int, r Request) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if r.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("restrict the mount of %s: %w", r.Source, err)
	}
	err := mapIDs(tree, r)
	if r.Idmap == nil && errors.Is(err, ErrCannotIdmap) {
		return nil // it was only to keep root out
	}
	return err
}

// mapIDs maps the ids of a clone that isn't mounted yet.
func mapIDs(tree int, r Request) error {
	var uids, gids []syscall.SysProcIDMap
	switch {
	case r.Idmap != nil:
		uids, gids = r.Idmap.maps(r.Owner)
	case r.Owner.UID == 0:
		return nil // root's own
	default:
		uids, gids = withoutRoot()
	}
	return r.Namespaces.use(uids, gids, func(namespace uintptr) error {
		err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(namespace)})
		// EINVAL: a kind of file system that can't; EPERM: one that is mapped already.
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			return failed(r, ErrCannotIdmap, "Mount a directory of another file system, such as one of your home; a container that exists must be made again.")
		}
		if err != nil {
			return fmt.Errorf("map ids of %s: %w", r.Source, err)
		}
		return nil
	})
}

// makeTarget makes a mount point of the source's kind.
func makeTarget(s source, target string) error {
	if err := makeFolder(filepath.Dir(target)); err != nil {
		return err
	}
	if s.dir {
		if err := os.MkdirAll(target, 0o700); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		return nil
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o600) //nolint:gosec // the folder is root's
	if err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	return f.Close()
}

// makeFolder makes the folder that mount points lie in. Through an open one,
// others on the host would reach what the closed directories above a source
// keep from them.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of mounts: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at folder of mounts %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o077 != 0 {
		return fmt.Errorf("folder of mounts %s: it must be a directory of root's, closed to everybody else (mode 700)", dir)
	}
	return nil
}
