package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ShowNode puts a clone of the device node at path, which is root's own, at
// /dev/name of the mount namespace that is open as namespace: a container's. There is
// a file of that name afterwards even where it fails.
func ShowNode(path, name string, namespace int) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("clone node %s: %w", path, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID, Attr_clr: unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("open up the mount of %s: %w", path, err)
	}
	return inside(namespace, func() error {
		if err := hide(name); err != nil {
			return err
		}
		target, err := makeNodeTarget(name)
		if err != nil {
			return err
		}
		defer unix.Close(target) //nolint:errcheck // it was only a place
		return unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	})
}

// NodeShown reports whether something is mounted at /dev/name where a process is.
func NodeShown(pid int, name string) (bool, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return false, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	return slices.ContainsFunc(entries(string(data)), func(e entry) bool { return e.target == "/dev/"+name }), nil
}

// HideNode takes /dev/name out of a container's mount namespace. What isn't there
// is no error.
func HideNode(name string, namespace int) error {
	return inside(namespace, func() error { return hide(name) })
}

// hide runs in the container's mount namespace.
func hide(name string) error {
	dir, err := openDev(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer unix.Close(dir) //nolint:errcheck // it was only walked through
	if err := unix.Fchdir(dir); err != nil {
		return err
	}
	for err == nil { // one may lie on another
		err = unix.Unmount(filepath.Base(name), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := unix.Unlinkat(dir, filepath.Base(name), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// makeNodeTarget makes an empty file at /dev/name, without following any link that
// the container has made, and opens it.
func makeNodeTarget(name string) (int, error) {
	dir, err := openDev(filepath.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir) //nolint:errcheck // it was only walked through
	made, err := unix.Openat(dir, filepath.Base(name), unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(made)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return unix.Openat(dir, filepath.Base(name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// openDev opens a folder in /dev, and makes it where it is missing.
func openDev(folder string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	dir, err := unix.Open("/dev", flags, 0)
	if err != nil || folder == "." {
		return dir, err
	}
	for part := range strings.SplitSeq(folder, "/") {
		if err := unix.Mkdirat(dir, part, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, errors.Join(err, unix.Close(dir))
		}
		next, err := unix.Openat(dir, part, flags, 0)
		if err = errors.Join(err, unix.Close(dir)); err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

// inside runs f in another mount namespace, on a thread that is thrown away
// after it.
func inside(namespace int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- inside(namespace, f)
			return
		}
		if err := unix.Unshare(unix.CLONE_FS); err != nil { // the kernel wants a root folder of the thread's own
			done <- fmt.Errorf("enter a container: %w", err)
			return
		}
		if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
			done <- fmt.Errorf("enter a container: %w", err)
			return
		}
		err := becomeOwnerOf("/dev")
		if err == nil {
			err = f()
		}
		if err != nil {
			done <- fmt.Errorf("change the devices in a container: %w", err)
			return
		}
		done <- nil
	}()
	return <-done
}

// becomeOwnerOf gives this thread the ids of a folder's owner: in a container
// with ids of its own nobody else can make a file.
func becomeOwnerOf(folder string) error {
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		return err
	}
	if _, err := unix.SetfsgidRetGid(int(st.Gid)); err != nil {
		return err
	}
	_, err := unix.SetfsuidRetUid(int(st.Uid))
	return err
}

// OpenNamespace opens the mount namespace of a process, for ShowNode.
func OpenNamespace(pid int) (*os.File, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return nil, fmt.Errorf("open a container: %w", err)
	}
	return f, nil
}
