package mount

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// Cover puts nothing where Mount would put the source: an empty directory, or
// an empty file, that can't be written to. What was mounted there is taken
// away first; who uses it keeps it. The target's kind is the source's, which
// is opened as Prepare does. A directory holds the mount points that inside
// names, each of the kind of what lies at the path beside it: whoever mounts
// that there finds its place.
func Cover(r Request, inside map[string]string) error {
	source, err := open(r)
	if err != nil {
		return err
	}
	defer source.close()
	if err := Unmount(r.Target); err != nil {
		return err
	}
	if err := makeTarget(source, r.Target); err != nil {
		return err
	}
	target, err := os.Lstat(r.Target)
	if err != nil {
		return fmt.Errorf("look at mount point: %w", err)
	}
	if target.IsDir() {
		return coverWith(r.Target, r.Source, inside)
	}
	return coverFile(r.Target)
}

// CoverFile puts an empty file that can't be written to at a target of
// PrepareFile's, in place of what is mounted there.
func CoverFile(target string) error {
	if err := Unmount(target); err != nil {
		return err
	}
	if err := PrepareFile(target); err != nil {
		return err
	}
	return coverFile(target)
}

// coverFile mounts the mount point at target over itself, read-only.
func coverFile(target string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("clone mount point %s: %w", target, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	return put(tree, target)
}

// CoverDir puts an empty directory that can't be written to in place of the one
// at path, which belongs to root as does all that leads to it. UncoverDir and
// Covers find it by its mark. inside is as for Cover.
//
// What covers it is mounted one directory up: a mount at path itself would show
// up in each container that has the directory mounted, as a slave of the
// host's. Where that is mounted already it keeps its files.
func CoverDir(path, mark string, inside map[string]string) error {
	if err := UncoverDir(path, mark); err != nil {
		return err
	}
	if err := onlyCovered(path, mark); err != nil {
		return err
	}
	points := map[string]string{filepath.Base(path): path}
	for name, source := range inside {
		points[filepath.Join(filepath.Base(path), name)] = source
	}
	return coverWith(filepath.Dir(path), mark, points)
}

// UncoverDir takes away what CoverDir has put in place of the directory at
// path. That there is nothing is no error.
func UncoverDir(path, mark string) error {
	all, err := Covers(mark, filepath.Base(path))
	if err != nil || !slices.Contains(all, path) {
		return err
	}
	if err := unix.Unmount(filepath.Dir(path), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("uncover %s: %w", path, err)
	}
	return nil
}

// Covers returns the directories of this name in place of which CoverDir has
// put something with this mark.
func Covers(mark, name string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var all []string
	for _, m := range entries(string(data)) {
		if m.source == mark {
			all = append(all, filepath.Join(m.target, name))
		}
	}
	return all, nil
}

// Under opens the directory at path, whatever CoverDir has put in its place.
// Nothing in it is a device.
func Under(path, mark string) (*os.Root, error) {
	if err := onlyCovered(path, mark); err != nil {
		return nil, err
	}
	// The clone of a mount has nothing mounted in it.
	name := filepath.Dir(path)
	tree, err := unix.OpenTree(unix.AT_FDCWD, filepath.Dir(name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone %s: %w", filepath.Dir(name), err)
	}
	defer unix.Close(tree) //nolint:errcheck // what is opened in it lives on
	if err := confine(tree, 0); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d/%s/%s", tree, filepath.Base(name), filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return root, nil
}

// onlyCovered refuses a directory where something else is mounted: what is to
// be seen there isn't what lies in the directory.
func onlyCovered(path, mark string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range entries(string(data)) {
		if _, in := within(filepath.Dir(path), m.target); in && m.source != mark {
			return fmt.Errorf("%s is mounted at %s: %w", m.source, m.target, problem.ErrConflict)
		}
	}
	return nil
}

// coverWith makes an empty directory and puts it over the one at target.
func coverWith(target, mark string, inside map[string]string) error {
	tree, err := emptyTree(mark)
	if err != nil {
		return fmt.Errorf("make an empty directory: %w", err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on
	for _, name := range slices.Sorted(maps.Keys(inside)) {
		if err := makePoint(fmt.Sprintf("/proc/self/fd/%d/%s", tree, name), inside[name]); err != nil {
			return err
		}
	}
	return put(tree, target)
}

// emptyTree returns a file system of its own, in memory, that is mounted
// nowhere yet.
func emptyTree(mark string) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs) //nolint:errcheck // the mount lives on
	for _, option := range [][2]string{{"source", mark}, {"mode", "0700"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// makePoint makes a mount point for what is at source. Nobody else sees the
// tree yet in which it lies.
func makePoint(point, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("look at what is mounted: %w", err)
	}
	folder := point
	if !info.IsDir() {
		folder = filepath.Dir(point)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	if info.IsDir() {
		return nil
	}
	if err := os.WriteFile(point, nil, 0o600); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	return nil
}

// put mounts a tree at target, read-only.
func put(tree int, target string) error {
	if err := confine(tree, unix.MOUNT_ATTR_RDONLY); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	return nil
}

// confine takes from a tree that is mounted nowhere what it is not there for.
func confine(tree int, also uint64) error {
	err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set:    also | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC,
		Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		return fmt.Errorf("restrict a mount: %w", err)
	}
	return nil
}
