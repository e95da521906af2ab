package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// open opens the source with the owner's rights and checks what it is. The
// descriptor can be cloned and looked at, not read.
func open(r Request) (int, error) {
	if r.Idmap != nil {
		if err := r.Idmap.check(r.Owner); err != nil {
			return -1, failed(r, err, "")
		}
	}
	below, err := filepath.Rel(r.Root, r.Source)
	if err != nil || !filepath.IsAbs(r.Source) || r.Root == "/" || below == ".." || strings.HasPrefix(below, "../") {
		return -1, refuse(r, "it doesn't lie in "+r.Root, "Mount a directory or file in "+r.Root+".")
	}
	fd := -1
	err = as(r.Owner, func() (err error) {
		if fd, err = walk(r.Root, below); err != nil {
			return explain(r, err)
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	if err := check(r, fd); err != nil {
		_ = unix.Close(fd) // that error is the one to tell
		return -1, err
	}
	return fd, nil
}

// walk opens root from / and below from root, through no symbolic link and no
// magic link. Mounts of a home (autofs, NFS) may be crossed.
func walk(root, below string) (int, error) {
	base, err := unix.Openat2(unix.AT_FDCWD, root, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(base) //nolint:errcheck // it was only walked through
	return unix.Openat2(base, below, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// explain runs with the owner's rights, so that it tells them nothing that
// they couldn't find out themselves.
func explain(r Request, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return failed(r, problem.Because(problem.ErrInvalid, "there is no such file or directory"), "Make it first: mkdir -p '"+r.Source+"'.")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		next := "Write the path without symbolic links."
		if resolved, rerr := filepath.EvalSymlinks(r.Source); rerr == nil && resolved != filepath.Clean(r.Source) {
			next = "Write the path without symbolic links: " + resolved + "."
		}
		return refuse(r, "it is, or leads through, a symbolic link", next)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOTDIR):
		return refuse(r, "you can't open it yourself: "+err.Error(), "Mount a directory of yours.")
	}
	return fmt.Errorf("open %s: %w", r.Source, err)
}

// check refuses what isn't the owner's own directory or regular file.
func check(r Request, fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("look at %s: %w", r.Source, err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind != unix.S_IFDIR && kind != unix.S_IFREG:
		return refuse(r, "it is neither a directory nor a regular file", "Mount the directory that holds it.")
	case int(st.Uid) != r.Owner.UID:
		return refuse(r, "it isn't yours", "Mount a directory or file that you own.")
	}
	return nil
}
