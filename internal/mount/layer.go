package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Layer opens a container's own files, without what is mounted in them, and
// nothing in them is a device. Those of a container that runs are as it sees
// them. Those of one that doesn't are mounted for as long as they are open, for
// a moment in a folder that only root may enter; without write they can't be
// changed. The caller keeps the container from starting meanwhile.
func Layer(l container.Layer, folder string, write bool) (*os.Root, error) {
	runs, err := mounted(l.Merged)
	if err != nil {
		return nil, err
	}
	if runs {
		return cloned(l.Merged)
	}
	return overlaid(l, folder, write)
}

// mounted reports whether something is mounted at a path.
func mounted(path string) (bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, fmt.Errorf("list mounts: %w", err)
	}
	return slices.ContainsFunc(entries(string(data)), func(e entry) bool { return e.target == path }), nil
}

// cloned opens a file system at its mount point, and nothing mounted in it.
func cloned(path string) (*os.Root, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return nil, fmt.Errorf("clone %s: %w", path, err)
	}
	defer unix.Close(tree) //nolint:errcheck // what is opened in it lives on
	var fs unix.Statfs_t
	if err := unix.Fstatfs(tree, &fs); err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return nil, problem.Because(problem.ErrConflict, "the container has ended just now")
	}
	if err := confine(tree, 0); err != nil {
		return nil, err
	}
	return os.OpenRoot("/proc/self/fd/" + strconv.Itoa(tree))
}

// overlaid mounts the layers as the engine would.
func overlaid(l container.Layer, folder string, write bool) (*os.Root, error) {
	lower, flags := l.Lower, uintptr(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	if !write { // then nothing else may have its upper layer
		lower, flags = append([]string{l.Upper}, l.Lower...), flags|unix.MS_RDONLY
	}
	options, closeAll, err := overlayOptions(lower, l, write)
	defer closeAll()
	if err != nil {
		return nil, err
	}
	point, err := os.MkdirTemp(folder, layerPoint)
	if err != nil {
		return nil, fmt.Errorf("make a mount point: %w", err)
	}
	defer os.Remove(point) //nolint:errcheck // an empty directory
	if err := unix.Mount("overlay", point, "overlay", flags, options); err != nil {
		return nil, fmt.Errorf("mount a container's files: %w", err)
	}
	root, err := os.OpenRoot(point)
	if uerr := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); uerr != nil {
		return nil, fmt.Errorf("take a mount point back: %w", uerr)
	}
	return root, err
}

// layerPoint begins the names of the directories where layers are mounted.
const layerPoint = "layer-"

// TidyLayers takes away what a process that was killed has left in a folder.
func TidyLayers(folder string) error {
	left, err := filepath.Glob(filepath.Join(folder, layerPoint+"*"))
	if err != nil {
		return fmt.Errorf("list mount points: %w", err)
	}
	for _, point := range left {
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) { // not mounted
			return fmt.Errorf("unmount %s: %w", point, err)
		}
		if err := os.Remove(point); err != nil {
			return fmt.Errorf("remove a mount point: %w", err)
		}
	}
	return nil
}

// overlayOptions names the layers by descriptors: the paths of many don't fit
// into what mount(2) takes.
func overlayOptions(lower []string, l container.Layer, write bool) (options string, closeAll func(), err error) {
	var open []int
	closeAll = func() {
		for _, fd := range open {
			_ = unix.Close(fd) // it was only a name
		}
	}
	named := func(path string) string {
		fd, operr := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if operr != nil {
			err = fmt.Errorf("open layer %s: %w", path, operr)
			return ""
		}
		open = append(open, fd)
		return "/proc/self/fd/" + strconv.Itoa(fd)
	}
	names := make([]string, len(lower))
	for i, path := range lower {
		names[i] = named(path)
	}
	options = "index=off,lowerdir=" + strings.Join(names, ":")
	if write {
		options += ",upperdir=" + named(l.Upper) + ",workdir=" + named(l.Work)
	}
	return options, closeAll, err
}
