package archiver

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// deepest bounds how far below each other directories lie that are read.
const deepest = 1000

// Read writes what is at a name, and all below it, as a tar archive in which it
// is called as. follow is as for Stat. What goes away meanwhile is left out, as
// are sockets and devices.
func (t *Tree) Read(to io.Writer, name, as string, follow bool) error {
	r := reader{Tree: t, out: tar.NewWriter(to), links: map[inode]string{}}
	actual, info, _, err := t.look(name, follow)
	if err == nil {
		err = r.add(actual, as, info)
	}
	if err != nil {
		return err
	}
	if err := r.out.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	return nil
}

// reader is one archive being written.
type reader struct {
	*Tree
	out   *tar.Writer
	links map[inode]string // where a file that has several names came first
}

type inode struct{ device, number uint64 }

func (r *reader) add(name, as string, info fs.FileInfo) error {
	if strings.Count(name, "/") > deepest {
		return problem.Because(problem.ErrInvalid, fmt.Sprintf("there are more than %d directories in one another", deepest))
	}
	if host := r.points[name]; host != "" {
		return r.addGiven(host, as)
	}
	h, err := r.header(name, as, info)
	if h == nil || err != nil {
		return err
	}
	switch {
	case h.Typeflag == tar.TypeReg:
		return r.addFile(name, h)
	case h.Typeflag != tar.TypeDir:
		return r.write(h)
	}
	if err := r.write(h); err != nil {
		return err
	}
	return r.addBelow(name, as)
}

// header describes an entry; it is nil for what is left out.
func (r *reader) header(name, as string, info fs.FileInfo) (*tar.Header, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("look at %s: no Unix file", name)
	}
	h := &tar.Header{
		Name: as, Mode: int64(st.Mode & 0o7777), ModTime: info.ModTime(),
		Uid: r.ids.inArchive(int(st.Uid), r.ids.Users), Gid: r.ids.inArchive(int(st.Gid), r.ids.Groups),
	}
	switch info.Mode().Type() {
	case 0:
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, as+"/"
		return h, nil
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeSymlink:
		link, err := r.root.Readlink(name)
		if err != nil {
			return nil, gone(err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, link
	default:
		return nil, nil //nolint:nilnil // said above
	}
	if st.Nlink > 1 {
		key := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // it has other types elsewhere
		if first, seen := r.links[key]; seen {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return h, nil
		}
		r.links[key] = as
	}
	return h, nil
}

// addFile adds a file.
func (r *reader) addFile(name string, h *tar.Header) error {
	f, err := r.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0) // by now it may be a pipe
	if err != nil {
		return gone(err)
	}
	return r.addOpen(f, h)
}

// addGiven adds what is mounted at a name: a file of the host.
func (r *reader) addGiven(host, as string) error {
	f, err := os.OpenFile(host, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0) //nolint:gosec // only root may change where it leads
	if err != nil {
		return gone(err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("look at %s: %w", as, err), f.Close())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.Join(fmt.Errorf("look at %s: no Unix file", as), f.Close())
	}
	return r.addOpen(f, &tar.Header{
		Typeflag: tar.TypeReg, Name: as, Mode: int64(st.Mode & 0o7777), ModTime: info.ModTime(),
		Uid: r.ids.inArchive(int(st.Uid), r.ids.Users), Gid: r.ids.inArchive(int(st.Gid), r.ids.Groups),
	})
}

// addOpen adds an open file with as much in it as it has now, and closes it.
func (r *reader) addOpen(f *os.File, h *tar.Header) error {
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", h.Name, err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	h.Size = info.Size()
	if err := r.write(h); err != nil {
		return err
	}
	if _, err := io.CopyN(r.out, f, h.Size); err != nil {
		return fmt.Errorf("copy %s: %w", h.Name, err)
	}
	return nil
}

func (r *reader) addBelow(name, as string) error {
	dir, err := r.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
	if err != nil {
		return gone(err)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close() // it was only read
	if err != nil {
		return gone(err)
	}
	slices.Sort(names)
	for _, each := range names {
		below := path.Join(name, each)
		info, err := r.root.Lstat(below)
		if err == nil {
			err = r.add(below, as+"/"+each, info)
		}
		if err := gone(err); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) write(h *tar.Header) error {
	if err := r.out.WriteHeader(h); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// gone forgives that something isn't there any more, or is something else by
// now.
func gone(err error) error {
	for _, kind := range []error{fs.ErrNotExist, unix.ENOTDIR, unix.ENXIO, unix.EINVAL, unix.ELOOP} {
		if errors.Is(err, kind) {
			return nil
		}
	}
	if err != nil && strings.Contains(err.Error(), escapes) {
		return nil
	}
	return err
}
