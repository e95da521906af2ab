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

// A source is what was opened: it can be cloned, not read.
type source struct {
	fd  int
	dir bool // a directory; else a regular file
}

// close lets go of a source. Its clones live on.
func (s source) close() {
	_ = unix.Close(s.fd) // nothing was written through it
}

// open opens the source with the owner's rights and checks what it is.
// Whatever asks its file system is done here: that may never answer.
func open(r Request) (source, error) {
	if r.Idmap != nil {
		if err := r.Idmap.check(r.Owner); err != nil {
			return source{}, failed(r, err, "")
		}
	}
	type opened struct {
		source
		err error
	}
	got, answered := ask(r.Waits, fmt.Sprintf("uid %d", r.Owner.UID), func() (o opened) {
		o.err = as(r.Owner, func() (err error) {
			o.source, err = openBelow(r)
			return err
		})
		return o
	}, func(late opened) {
		if late.err == nil {
			late.close()
		}
	})
	if !answered {
		return source{}, failed(r, problem.Because(problem.ErrUnavailable, "its file system doesn't answer, as when its file server is gone"),
			"See whether 'ls "+r.Source+"' answers, and tell your administrators; what isn't mounted from there works as ever.")
	}
	return got.source, got.err
}

// openBelow runs with the owner's rights.
func openBelow(r Request) (source, error) {
	outside := refuse(r, "it doesn't lie in "+r.Root, "Mount a directory or file in "+r.Root+".")
	if !filepath.IsAbs(r.Source) || !filepath.IsAbs(r.Root) {
		return source{}, outside
	}
	root, err := settle(filepath.Clean(r.Root))
	if errors.Is(err, unix.ELOOP) {
		return source{}, refuse(r, r.Root+" leads through a symbolic link that others than root could change", "Administrators: give the account's home without symbolic links.")
	}
	if err != nil {
		return source{}, explain(r, err)
	}
	below, ok := within(filepath.Clean(r.Root), r.Source)
	if !ok {
		below, ok = within(root, r.Source)
	}
	if !ok || root == "/" {
		return source{}, outside
	}
	fd, err := walk(root, below)
	if err != nil {
		return source{}, explain(r, err)
	}
	s := source{fd: fd}
	err = enter(r, fd)
	if err == nil {
		s.dir, err = check(r, fd)
	}
	if err != nil {
		s.close()
		return source{}, err
	}
	return s, nil
}

// enter runs with the owner's rights and refuses what they can't get into:
// opening it for a mount asks for no right to it. Their own they could open up.
func enter(r Request, fd int) error {
	if !r.Shared {
		return nil // check takes nothing but their own
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return explain(r, err)
	}
	want := uint32(unix.R_OK)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		want = unix.X_OK
	}
	if int(st.Uid) == r.Owner.UID {
		return nil
	}
	if err := unix.Faccessat(fd, "", want, unix.AT_EMPTY_PATH|unix.AT_EACCESS); err != nil {
		return explain(r, err)
	}
	return nil
}

func within(root, path string) (below string, ok bool) {
	below, err := filepath.Rel(root, path)
	return below, err == nil && below != ".." && !strings.HasPrefix(below, "../")
}

// maxLinks is how many links the kernel follows in one path.
const maxLinks = 40

// settle returns an allowed root's path with its links resolved, such as a
// /home that leads to /data/home. It follows those that only the host's own
// root can have made or moved; any other is ELOOP.
func settle(root string) (string, error) {
	at, rest, closed := "/", strings.Split(root, "/"), true
	for links := 0; len(rest) > 0; {
		var dir unix.Stat_t
		if err := unix.Lstat(at, &dir); err != nil {
			return "", err
		}
		closed = closed && dir.Uid == 0 && dir.Mode&0o022 == 0
		next := filepath.Join(at, rest[0])
		target, err := os.Readlink(next)
		if errors.Is(err, unix.EINVAL) { // no link
			at, rest = next, rest[1:]
			continue
		}
		if err != nil {
			return "", err
		}
		if links++; !closed || links > maxLinks {
			return "", unix.ELOOP
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest[1:]...)
	}
	return at, nil
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
// they couldn't find out themselves. It avoids the system's own words ("no
// such file or directory", "permission denied"): where docker run reads them
// in a refusal, it takes the command for missing and exits with 127 or 126.
func explain(r Request, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return failed(r, problem.Because(problem.ErrInvalid, "it doesn't exist"), "Make it first: mkdir -p '"+r.Source+"'.")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		next := "Write the path without symbolic links."
		if resolved, rerr := filepath.EvalSymlinks(r.Source); rerr == nil && resolved != filepath.Clean(r.Source) {
			next = "Write the path without symbolic links: " + resolved + "."
		}
		return refuse(r, "it is, or leads through, a symbolic link", next)
	case errors.Is(err, unix.ENOTDIR):
		return refuse(r, "a part of its path is no directory", "Mount a directory of yours.")
	case errors.Is(err, unix.EACCES):
		return refuse(r, "you can't open it yourself", "Mount a directory that you can get into; 'id' shows which groups you are in.")
	case errors.Is(err, unix.ESTALE):
		return failed(r, problem.Because(problem.ErrUnavailable, "its file server doesn't know it any more (stale file handle)"),
			"Try again; if that doesn't help, ask your administrators to mount its file system anew.")
	}
	return fmt.Errorf("open %s: %w", r.Source, err)
}

// check runs with the owner's rights, since the host's root may be nobody to a
// file server, and refuses what isn't a directory or regular file that may be
// shown.
func check(r Request, fd int) (dir bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, explain(r, err)
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind != unix.S_IFDIR && kind != unix.S_IFREG:
		return false, refuse(r, "it is neither a directory nor a regular file", "Mount the directory that holds it.")
	case int(st.Uid) != r.Owner.UID && !r.Shared:
		return false, refuse(r, "it isn't yours", "Mount a directory or file that you own.")
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, checkPlace(r, fd)
}
