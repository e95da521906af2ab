package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// PrepareFile makes the target of Socket: an empty file in a folder of root's
// that is closed to others. Nothing is mounted.
func PrepareFile(target string) error { return makeTarget(source{}, target) }

// Socket puts a clone of the socket at path, which is root's own, at the target,
// in place of what is mounted there. Who has the clone connects to who listens
// at the socket, whatever becomes of its path.
func Socket(path, target string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("clone socket %s: %w", path, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	if err := confine(tree, 0); err != nil {
		return err
	}
	if err := Unmount(target); err != nil {
		return err
	}
	if err := PrepareFile(target); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount socket %s: %w", path, err)
	}
	return nil
}
