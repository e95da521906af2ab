package mount

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// Has reports whether the source, a directory, has a regular file of this name,
// as its owner finds it. Target and Idmap don't matter.
func Has(r Request, name string) (has bool, err error) {
	err = inSource(r, func(dir int) error {
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: beneath})
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // it was only looked at
		has, err = isFile(fd)
		return err
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	return has, err
}

// Leave writes a file of this name into the source, a directory, as its owner
// would. What is there and no regular file stays.
func Leave(r Request, name string, content []byte) error {
	return inSource(r, func(dir int) error {
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{
			Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_NONBLOCK | unix.O_CLOEXEC, Mode: 0o644, Resolve: beneath,
		})
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // Write has told
		if file, err := isFile(fd); err != nil || !file {
			return errors.Join(err, unix.EEXIST)
		}
		if err := unix.Ftruncate(fd, 0); err != nil {
			return err
		}
		_, err = unix.Write(fd, content)
		return err
	})
}

// Clear removes a file of this name from the source, a directory, as its owner
// would. One that isn't there is no error.
func Clear(r Request, name string) error {
	err := inSource(r, func(dir int) error { return unix.Unlinkat(dir, name, 0) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// beneath keeps a look-up in a directory in it.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

func isFile(fd int) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// inSource calls do with the source opened, and its owner's rights.
func inSource(r Request, do func(dir int) error) error {
	err, answered := ask(r.Waits, fmt.Sprintf("uid %d", r.Owner.UID), func() error {
		return as(r.Owner, func() error {
			s, err := openBelow(r)
			if err != nil {
				return err
			}
			defer s.close()
			return do(s.fd)
		})
	}, func(error) {})
	if !answered {
		return failed(r, problem.Because(problem.ErrUnavailable, "its file system doesn't answer"), "")
	}
	return err
}
