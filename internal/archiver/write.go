package archiver

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// Write writes a tar archive into the directory at a name, links followed. What
// is there already is replaced, but directories only by directories, which keep
// what is in them; keepKinds refuses to replace one kind by the other. Devices
// are refused. What came before an error has been written.
func (t *Tree) Write(from io.Reader, name string, keepKinds bool) error {
	at, info, _, err := t.look(name, true)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return invalid(fmt.Sprintf("%q is no directory", name), "Name a directory that is there.")
	}
	w := writer{Tree: t, at: at, keepKinds: keepKinds}
	for in := tar.NewReader(from); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return w.finish()
		}
		if err != nil {
			return err
		}
		if err := w.add(h, in); err != nil {
			return w.explain(h.Name, err)
		}
	}
}

func invalid(why, next string) error {
	return &problem.Error{What: notCopied, Why: problem.Because(problem.ErrInvalid, why), Next: next}
}

// writer is one archive being read.
type writer struct {
	*Tree
	at        string
	keepKinds bool
	dirs      []dir // whose times are set at the end
}

type dir struct {
	name   string
	header *tar.Header
}

func (w *writer) add(h *tar.Header, content io.Reader) error {
	name, err := w.resolve(path.Join(w.at, h.Name), false) //nolint:gosec // a root is never left
	if err != nil {
		return err
	}
	if at, mounted := w.point(name); mounted && (name != at || h.Typeflag != tar.TypeDir) {
		return invalid(fmt.Sprintf("%q would lie under what is mounted at /%s, and not be seen", h.Name, at), "Write it by a command: docker exec.")
	}
	uid, err := w.ids.onHost(h.Uid, w.ids.Users)
	if err != nil {
		return err
	}
	gid, err := w.ids.onHost(h.Gid, w.ids.Groups)
	if err != nil {
		return err
	}
	if err := w.makeParents(path.Dir(name)); err != nil {
		return err
	}
	there, err := w.clear(name, h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return w.makeDir(h, name, there, uid, gid)
	case tar.TypeReg:
		return w.makeFile(h, name, content, uid, gid)
	case tar.TypeSymlink:
		err = w.root.Symlink(h.Linkname, name)
	case tar.TypeFifo:
		err = w.makePipe(name)
	case tar.TypeLink: // it has an owner and a mode
		return w.root.Link(path.Join(w.at, h.Linkname), name) //nolint:gosec // a root is never left
	default:
		err = invalid(fmt.Sprintf("%q is neither a file nor a directory nor a link", h.Name), "Leave it out.")
	}
	if err != nil {
		return err
	}
	if err := w.root.Lchown(name, uid, gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := w.root.Chmod(name, mode(h)); err != nil {
			return err
		}
	}
	return w.setTime(name, h)
}

func mode(h *tar.Header) fs.FileMode {
	return h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// makeParents makes the directories that an archive leaves out, for root in a
// container.
func (w *writer) makeParents(name string) error {
	_, err := w.root.Stat(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.makeParents(path.Dir(name)); err != nil {
		return err
	}
	if err := w.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return w.root.Lchown(name, w.ids.Base, w.ids.Base)
}

// clear makes room at a name, and reports whether there is a directory already.
func (w *writer) clear(name string, dir bool) (there bool, err error) {
	info, err := w.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.IsDir() && dir:
		return true, nil
	case w.keepKinds && info.IsDir() != dir:
		return false, invalid(fmt.Sprintf("%s is a %s there, and a %s in the archive", path.Base(name), kind(info.IsDir()), kind(dir)), "Remove it first, or choose another name.")
	}
	if w.holdsPoint(name) {
		return false, invalid(fmt.Sprintf("something is mounted below %s, which is a %s in the archive", path.Base(name), kind(dir)), "Choose another name.")
	}
	return false, w.root.RemoveAll(name)
}

func (w *writer) makeDir(h *tar.Header, name string, there bool, uid, gid int) error {
	if !there {
		if err := w.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	w.dirs = append(w.dirs, dir{name, h})
	if err := w.root.Lchown(name, uid, gid); err != nil {
		return err
	}
	return w.root.Chmod(name, mode(h))
}

func (w *writer) makeFile(h *tar.Header, name string, content io.Reader, uid, gid int) error {
	f, err := w.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = setAttributes(f, h)
	}
	if err == nil {
		err = f.Chmod(mode(h)) // after the owner, whose change takes setuid away
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return w.setTime(name, h)
}

// setAttributes gives a file its extended attributes.
func setAttributes(f *os.File, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		attribute, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok {
			continue
		}
		err := unix.Fsetxattr(int(f.Fd()), attribute, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set %s: %w", attribute, err)
		}
	}
	return nil
}

func (w *writer) makePipe(name string) error {
	return w.beside(name, func(dir int, base string) error { return unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0) })
}

// setTime sets when an entry was changed last, also of a link itself.
func (w *writer) setTime(name string, h *tar.Header) error {
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	return w.beside(name, func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// beside does something about a name in the directory that it lies in.
func (w *writer) beside(name string, do func(dir int, base string) error) error {
	dir, err := w.root.OpenFile(path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // nothing was written to it
	return do(int(dir.Fd()), path.Base(name))
}

// finish sets the times of directories, which change with what is written to
// them.
func (w *writer) finish() error {
	for _, d := range w.dirs {
		if err := gone(w.setTime(d.name, d.header)); err != nil {
			return err
		}
	}
	return nil
}
