package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Cover puts nothing where Mount would put the source: an empty directory, or
// an empty file, that can't be written to. What was mounted there is taken
// away first; who uses it keeps it. The target's kind is the source's, which
// is opened as Prepare does.
func Cover(r Request) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // it was only asked
	if err := Unmount(r.Target); err != nil {
		return err
	}
	if err := makeTarget(source, r.Target); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, r.Target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("clone mount point %s: %w", r.Target, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC,
		Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		return fmt.Errorf("restrict the cover of %s: %w", r.Source, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, r.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cover %s: %w", r.Source, err)
	}
	return nil
}
