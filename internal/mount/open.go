package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// open opens the source with the owner's rights and checks what it is. The
// descriptor can be cloned and looked at, not read.
func open(r Request) (int, error) {
	below, err := filepath.Rel(r.Root, r.Source)
	if err != nil || !filepath.IsAbs(r.Source) || below == ".." || strings.HasPrefix(below, "../") {
		return -1, refuse(r, fmt.Sprintf("it doesn't lie in your home %s", r.Root), "Mount a directory of your home.")
	}
	type result struct {
		fd  int
		err error
	}
	done := make(chan result, 1)
	// The thread takes the owner's identity on and is thrown away with it:
	// a goroutine that ends locked ends its thread.
	go func() {
		runtime.LockOSThread()
		if err := become(r.Owner); err != nil {
			done <- result{-1, err}
			return
		}
		fd, err := walk(r.Root, below)
		done <- result{fd, err}
	}()
	res := <-done
	if res.err != nil {
		return -1, explain(r, res.err)
	}
	if err := check(r, res.fd); err != nil {
		_ = unix.Close(res.fd) // that error is the one to tell
		return -1, err
	}
	return res.fd, nil
}

// become gives this thread, and no other, the owner's file system rights. Go's
// own calls would change every thread.
func become(o Owner) error {
	groups := make([]uint32, 0, len(o.Groups)+1)
	for _, g := range o.Groups {
		groups = append(groups, uint32(g)) //nolint:gosec // group ids are 32 bits
	}
	if err := setGroups(groups); err != nil {
		return fmt.Errorf("take on groups: %w", err)
	}
	for _, call := range []struct {
		trap uintptr
		id   int
	}{{unix.SYS_SETFSGID, o.GID}, {unix.SYS_SETFSUID, o.UID}} {
		// The call returns the id before; only a second one tells whether it worked.
		_, _, _ = unix.RawSyscall(call.trap, uintptr(call.id), 0, 0)
		if now, _, _ := unix.RawSyscall(call.trap, uintptr(call.id), 0, 0); int(now) != call.id {
			return fmt.Errorf("take on id %d: the kernel refuses", call.id)
		}
	}
	return nil
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
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func explain(r Request, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return &problem.Error{What: r.Source + " can't be mounted", Why: problem.Because(problem.ErrInvalid, "there is no such file or directory"), Next: "Make it first: mkdir -p " + r.Source + "."}
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		next := "Write the path without symbolic links."
		if real, rerr := filepath.EvalSymlinks(r.Source); rerr == nil && real != r.Source {
			next = "Write the path without symbolic links: " + real + "."
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
	case kind == unix.S_IFLNK:
		return explain(r, unix.ELOOP)
	case kind != unix.S_IFDIR && kind != unix.S_IFREG:
		return refuse(r, "it is neither a directory nor a regular file", "Mount the directory that holds it.")
	case int(st.Uid) != r.Owner.UID:
		return refuse(r, "it isn't yours", "Mount a directory or file that you own.")
	}
	return nil
}
