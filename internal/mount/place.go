package mount

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkPlace refuses a source by where it lies: in one of the kernel's own
// file systems, in or around a closed folder, or above something mounted.
func checkPlace(r Request, fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return explain(r, err)
	}
	if slices.Contains(kernels(), fs.Type) {
		return refuse(r, "it lies in a file system of the kernel's", "Mount a directory of files.")
	}
	// By now the kernel says where it is, whatever was renamed meanwhile.
	place, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("find out where %s is: %w", r.Source, err)
	}
	for _, closed := range r.Closed {
		if _, in := within(closed, place); in {
			return refuse(r, "it lies in "+closed+", which is the host's own", "Mount a directory of yours.")
		}
		if _, holds := within(place, closed); holds {
			return refuse(r, "it holds "+closed+", which is the host's own", "Mount a directory beside it.")
		}
	}
	if r.Alone {
		return nil
	}
	return checkBelow(r, place)
}

// checkBelow refuses a source with something mounted below it: the clone
// leaves that out and shows what lies under it, so that files would seem to be
// gone, and new ones be out of sight on the host.
func checkBelow(r Request, place string) error {
	inner, err := List(strings.TrimSuffix(place, "/"))
	if err != nil || len(inner) == 0 {
		return err
	}
	first := inner[len(inner)-1]
	return refuse(r, "another file system is mounted below it, at "+first, "Mount "+first+" by itself, or leave it out: --mount type=bind,source="+r.Source+",target=…,bind-recursive=disabled (bind-nonrecursive with older clients).")
}

// kernels lists the kernel's own file systems by their numbers, statfs(2).
// What isn't in it is a place for files.
func kernels() []int64 {
	return []int64{
		unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.BPF_FS_MAGIC, unix.DEVPTS_SUPER_MAGIC,
		unix.EFIVARFS_MAGIC, unix.PSTOREFS_MAGIC, unix.NSFS_MAGIC, unix.SOCKFS_MAGIC, unix.PIPEFS_MAGIC, unix.ANON_INODE_FS_MAGIC,
		unix.BINFMTFS_MAGIC, unix.HUGETLBFS_MAGIC, unix.RDTGROUP_SUPER_MAGIC, unix.USBDEVICE_SUPER_MAGIC,
		configFS, mqueueFS, fusectlFS,
	}
}

// Numbers that are written in the kernel's sources only.
const (
	configFS  = 0x62656570
	mqueueFS  = 0x19800202
	fusectlFS = 0x65735543
)
