package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// snapshot is how the directory is called, in the one that holds a container's
// layers, that Snapshot puts in the place of that.
const snapshot = "ds01-snapshot"

// deepest bounds how far below each other directories lie, which are open all at
// once.
const deepest = 1000

// Snapshot puts another tree in place of a container's upper layer, until undo
// is called: the same files, as hard links, in directories of its own. Whoever
// has a directory of the container open goes on changing the names in that, and
// whoever finds the way by names, as the engine does to see what is in the
// layer, finds those of now. The engine may also look where the layers are
// mounted, and mounts those of a container that doesn't run, so all that it takes
// for it is there too. The caller
// keeps the container from starting meanwhile.
func Snapshot(l container.Layer) (undo func() error, err error) {
	layers := filepath.Dir(l.Upper)
	tree := filepath.Join(layers, snapshot)
	if err := os.RemoveAll(tree); err != nil {
		return nil, fmt.Errorf("remove an old snapshot: %w", err)
	}
	runs, err := mounted(l.Merged)
	if err == nil {
		err = standIn(l, tree)
	}
	var life *os.File
	if err == nil {
		life, err = lockDir(tree)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tree))
	}
	if err := bindOver(tree, layers); err != nil {
		return nil, errors.Join(err, os.RemoveAll(tree), life.Close())
	}
	if runs {
		err = mergedAgain(l)
	}
	undo = func() error { return errors.Join(endSnapshot(layers), life.Close()) }
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// lockDir locks a directory until the result is closed, or the process ends. One
// that is locked is an error of kind unix.EWOULDBLOCK.
func lockDir(path string) (*os.File, error) {
	dir, err := openDir(unix.AT_FDCWD, path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), dir.Close())
	}
	return dir, nil
}

// mergedAgain mounts the snapshot where the engine takes the container's files
// for mounted, since it runs: some look there for what has changed.
func mergedAgain(l container.Layer) error {
	options, closeAll, err := overlayOptions(append([]string{l.Upper}, l.Lower...), l, false)
	defer closeAll()
	if err != nil {
		return err
	}
	if err := unix.Mount("overlay", l.Merged, "overlay", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, options); err != nil {
		return fmt.Errorf("mount a snapshot: %w", err)
	}
	return nil
}

func bindOver(tree, target string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, tree, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("clone %s: %w", tree, err)
	}
	defer unix.Close(fd) //nolint:errcheck // the mount lives on
	// What is mounted in it later must not show up in the tree as well.
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return fmt.Errorf("restrict a snapshot: %w", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount a snapshot at %s: %w", target, err)
	}
	return nil
}

func endSnapshot(layers string) error {
	if err := unix.Unmount(layers, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount the snapshot at %s: %w", layers, err)
	}
	if err := os.RemoveAll(filepath.Join(layers, snapshot)); err != nil {
		return fmt.Errorf("remove a snapshot: %w", err)
	}
	return nil
}

// TidySnapshots ends those that a process that was killed has left, whichever: a
// container that starts would write to them.
func TidySnapshots() error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range entries(string(data)) {
		if filepath.Base(m.root) != snapshot {
			continue
		}
		dead, err := lockDir(m.target)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue // somebody's who lives, or ended it since
		}
		if err == nil {
			err = errors.Join(endSnapshot(m.target), dead.Close())
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) { // nothing is mounted there any more: ended since, too
			return err
		}
	}
	return nil
}

// standIn makes a directory like the one that holds the layers: the upper layer
// with all that is in it, other directories empty, and the engine's notes.
func standIn(l container.Layer, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	source, err := openDir(unix.AT_FDCWD, filepath.Dir(l.Upper))
	if err != nil {
		return fmt.Errorf("open layers: %w", err)
	}
	defer source.Close() //nolint:errcheck // it was only read
	target, err := openDir(unix.AT_FDCWD, to)
	if err != nil {
		return fmt.Errorf("open %s: %w", to, err)
	}
	defer target.Close() //nolint:errcheck // it was only a way there
	names, err := source.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	for _, name := range names {
		if name == snapshot {
			continue
		}
		if err := linkOne(source, target, name, levelsOf(l, name)); err != nil {
			return fmt.Errorf("take a snapshot: %s: %w", name, err)
		}
	}
	return likeDir(source, target)
}

// levelsOf returns how deep a name beside the upper layer is copied.
func levelsOf(l container.Layer, name string) int {
	if name == filepath.Base(l.Upper) {
		return deepest
	}
	return 0
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// linkAll makes a directory hold what another one holds, whose names change
// meanwhile: each is looked up in an open directory, and no link is followed.
func linkAll(from, to *os.File, levels int) error {
	for {
		names, err := from.Readdirnames(1000)
		for _, name := range names {
			if err := linkOne(from, to, name, levels); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return likeDir(from, to)
		}
		if err != nil {
			return fmt.Errorf("list a directory: %w", err)
		}
	}
}

// linkOne links a name, or makes a directory like that of this name, with what
// is in it as deep as levels says; with none it is empty, and root's. What goes
// away meanwhile, or turns into something else, is left out.
func linkOne(from, to *os.File, name string, levels int) error {
	source, err := openDir(int(from.Fd()), name)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		err := unix.Linkat(int(from.Fd()), name, int(to.Fd()), name, 0)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
			return nil
		}
		return err
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	}
	defer source.Close() //nolint:errcheck // it was only read
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
		return err
	}
	target, err := openDir(int(to.Fd()), name)
	if err != nil {
		return err
	}
	defer target.Close() //nolint:errcheck // it was only a way there
	switch levels {
	case 0: // where something is mounted it is not the directory itself that is open
		return nil
	case 1:
		return problem.Because(problem.ErrInvalid, fmt.Sprintf("there are %d directories in one another", deepest))
	}
	return linkAll(source, target, levels-1)
}

// likeDir gives a directory the owner, mode, attributes and time of another.
func likeDir(from, to *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return fmt.Errorf("look at a directory: %w", err)
	}
	if err := attributesLike(int(from.Fd()), int(to.Fd())); err != nil {
		return err
	}
	return errors.Join(
		unix.Fchown(int(to.Fd()), int(st.Uid), int(st.Gid)),
		unix.Fchmod(int(to.Fd()), st.Mode&0o7777),
		unix.UtimesNanoAt(int(to.Fd()), "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH),
	)
}

func attributesLike(from, to int) error {
	size, err := unix.Flistxattr(from, nil)
	if err != nil || size == 0 {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.Trim(string(list[:size]), "\x00"), "\x00") {
		if name == "" {
			continue // the list has grown shorter
		}
		size, err := unix.Fgetxattr(from, name, nil)
		value := make([]byte, max(size, 0))
		if err == nil && size > 0 {
			size, err = unix.Fgetxattr(from, name, value)
		}
		if err == nil {
			err = unix.Fsetxattr(to, name, value[:size], 0)
		}
		if err != nil && !errors.Is(err, unix.ENODATA) { // it was taken away meanwhile
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}
