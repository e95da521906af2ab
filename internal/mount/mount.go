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
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// An Owner is whose rights open the source.
type Owner struct {
	UID, GID int
	Groups   []int // supplementary groups
}

// A Mapping makes the owner's files the container user's own. Ids on disk
// that belong to neither the owner nor their groups stay outside the
// container's range.
type Mapping struct {
	ContainerUID, ContainerGID int // the user the container runs as
	HostBase, HostSize         int // the engine's remapped range: container id 0 is HostBase on the host
}

// A Request is one mount.
type Request struct {
	Source   string // absolute and clean
	Root     string // Source is Root or lies below it; absolute
	Target   string // where it goes; its folder belongs to root
	ReadOnly bool
	Owner    Owner
	Idmap    *Mapping // nil: ids are shown as they are
}

// ErrCannotIdmap says that the source's file system can't map ids.
var ErrCannotIdmap = errors.New("the file system can't map ids")

func refuse(r Request, why, next string) error {
	return &problem.Error{What: r.Source + " can't be mounted", Why: problem.Because(problem.ErrDenied, why), Next: next}
}

// Prepare opens the source as Mount will, and makes the target: a folder for
// a directory, an empty file for a file. Nothing is mounted. Errors are of
// kind problem.ErrDenied or problem.ErrNotFound.
func Prepare(r Request) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // it was only asked
	return makeTarget(source, r.Target)
}

// Mount opens the source, clones it and puts the clone at the target, which
// it makes where it is missing.
func Mount(r Request) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // the clone lives on
	if err := makeTarget(source, r.Target); err != nil {
		return err
	}
	tree, err := unix.OpenTree(source, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("clone %s: %w", r.Source, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	if err := restrict(tree, r); err != nil {
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
	if r.Idmap != nil {
		ns, err := namespace(r.Owner, *r.Idmap)
		if err != nil {
			return fmt.Errorf("map ids of %s: %w", r.Source, err)
		}
		defer ns.Close() //nolint:errcheck // the mount holds it
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(ns.Fd())
	}
	err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr)
	if r.Idmap != nil && errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s: %w", r.Source, ErrCannotIdmap)
	}
	if err != nil {
		return fmt.Errorf("restrict the mount of %s: %w", r.Source, err)
	}
	return nil
}

// makeTarget makes a mount point of the source's kind.
func makeTarget(source int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return fmt.Errorf("look at the source: %w", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return os.MkdirAll(target, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o600) //nolint:gosec // the folder is root's
	if err != nil {
		return err
	}
	return f.Close()
}

// Unmount takes the mount at target away, with its mount point and the folder
// around it once that is empty. What isn't there is no error.
func Unmount(target string) error {
	for {
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // nothing is mounted there (any more)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mount point: %w", err)
	}
	_ = os.Remove(filepath.Dir(target)) // stays while others are in it
	return nil
}

// List returns what is mounted below folder, deepest first.
func List(folder string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 {
			if target := unescape(f[4]); strings.HasPrefix(target, folder+"/") {
				all = append([]string{target}, all...)
			}
		}
	}
	return all, nil
}

// unescape undoes the kernel's octal escapes for blanks in paths.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
