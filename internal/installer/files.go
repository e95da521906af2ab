package installer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"ds01.dev/ds01/internal/takeover"
)

// mostShown is how large a file may be to be shown as a diff, in bytes.
const mostShown = 1 << 20

// look returns what is at a path.
func (i *Installer) look(path string) (takeover.File, error) {
	return Look(i.at(path))
}

// Look returns what is at a path of this host, with its text if it isn't too
// long to be shown.
func Look(path string) (takeover.File, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return takeover.File{}, nil
	}
	if err != nil {
		return takeover.File{}, err
	}
	f := takeover.File{Kind: takeover.Other}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.Kind = takeover.Symlink
		f.Target, err = os.Readlink(path)
	case info.Mode().IsRegular():
		f.Kind, f.Mode, f.From = takeover.Regular, uint32(info.Mode().Perm()), path
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.UID, f.GID = int(st.Uid), int(st.Gid)
		}
		f.Sum, f.Text, err = read(path, info.Size())
	}
	return f, err
}

func read(path string, size int64) (sum string, text []byte, err error) {
	file, err := os.Open(path) //nolint:gosec // root's own files
	if err != nil {
		return "", nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	hash := sha256.New()
	var shown bytes.Buffer
	var w io.Writer = hash
	if size <= mostShown {
		w = io.MultiWriter(hash, &shown)
	}
	if _, err := io.Copy(w, file); err != nil {
		return "", nil, err
	}
	if size <= mostShown {
		text = append([]byte{}, shown.Bytes()...)
	}
	return hex.EncodeToString(hash.Sum(nil)), text, nil
}

// put makes a path what a step says it shall be, at once or not at all.
func (i *Installer) put(s takeover.Step) error {
	path := i.at(s.Path)
	now, err := i.look(s.Path)
	if err != nil || now.Same(s.Then) {
		return err
	}
	switch s.Then.Kind {
	case takeover.Absent:
		return errors.Join(os.Remove(path), sync(filepath.Dir(path)))
	case takeover.Symlink:
		return link(path, s.Then.Target)
	case takeover.Regular:
		return i.write(path, s.Then)
	default:
		return fmt.Errorf("%s was neither a file nor a link, and can't be made again", s.Path)
	}
}

// temporary is where a file is made before it takes its place.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".ds01-new")
}

func link(path, target string) error {
	if err := folders(path); err != nil {
		return err
	}
	if err := os.Remove(temporary(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary(path)); err != nil {
		return err
	}
	return errors.Join(os.Rename(temporary(path), path), sync(filepath.Dir(path)))
}

// write makes a file of its text, of where it comes from, or of the copy that
// was kept.
func (i *Installer) write(path string, f takeover.File) error {
	if err := folders(path); err != nil {
		return err
	}
	mode := fs.FileMode(f.Mode)
	var err error
	switch {
	case f.Text != nil || f.Sum == takeover.Content(nil).Sum:
		err = fill(temporary(path), bytes.NewReader(f.Text), mode)
	case f.From != "":
		err = copyTo(f.From, temporary(path), mode)
	default:
		err = copyTo(i.kept(f.Sum), temporary(path), mode)
	}
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(temporary(path), f.UID, f.GID)
	}
	if err == nil {
		err = os.Chmod(temporary(path), mode) // after chown, which takes bits away
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary(path)))
	}
	return errors.Join(os.Rename(temporary(path), path), sync(filepath.Dir(path)))
}

func folders(path string) error {
	return os.MkdirAll(filepath.Dir(path), 0o755) //nolint:gosec // folders of the host's
}

// write replaces a file at once.
func write(path string, data []byte, mode fs.FileMode) error {
	if err := fill(temporary(path), bytes.NewReader(data), mode); err != nil {
		return err
	}
	return errors.Join(os.Rename(temporary(path), path), sync(filepath.Dir(path)))
}

func copyTo(from, to string, mode fs.FileMode) error {
	source, err := os.Open(from) //nolint:gosec // root's own files
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // read only
	return fill(to, source, mode)
}

// fill writes a file to the disk.
func fill(path string, from io.Reader, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Sync(), file.Close())
}

// sync has the disk know what is in a folder.
func sync(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// removeDir removes a folder that is empty; others stay.
func (i *Installer) removeDir(path string) error {
	err := os.Remove(i.at(path))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}
