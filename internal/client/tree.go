package client

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// PackTree writes a file, or a directory with all that is below it, as a tar
// archive in which it is called name. Links are packed as links; devices and
// sockets are left out, and told to skipped.
func PackTree(to io.Writer, source, name string, skipped func(path string)) error {
	out := tar.NewWriter(to)
	err := filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeDevice|fs.ModeSocket|fs.ModeNamedPipe) != 0 {
			skipped(file)
			return nil
		}
		return packOne(out, file, path.Join(name, filepath.ToSlash(below)), info)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func packOne(out *tar.Writer, file, name string, info fs.FileInfo) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("pack %s: %w", file, err)
	}
	header.Name, header.Uname, header.Gname = name, "", ""
	if info.IsDir() {
		header.Name += "/"
	}
	if err := out.WriteHeader(header); err != nil {
		return fmt.Errorf("pack %s: %w", file, err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	in, err := os.Open(file) //nolint:gosec // the caller's own file
	if err != nil {
		return err
	}
	defer drop(in)
	if _, err := io.CopyN(out, in, info.Size()); err != nil {
		return fmt.Errorf("pack %s: %w", file, err)
	}
	return nil
}

// UnpackTree writes a tar archive with one thing in it, called from there, to
// a directory under the name to. What is in it can't get out of the directory,
// whatever the archive's names and links say. Owners and set-uid bits are left
// out; so are devices, which are told to skipped.
func UnpackTree(archive io.Reader, directory, from, to string, skipped func(path string)) error {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return err
	}
	defer drop(root)
	in := tar.NewReader(archive)
	rename := func(name string) string {
		clean := strings.TrimPrefix(path.Clean("/"+name), "/")
		if from == "" { // the container's root
			return path.Join(to, clean)
		}
		if rest, ok := strings.CutPrefix(clean+"/", from+"/"); ok {
			return path.Join(to, rest)
		}
		return clean
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return problem.Because(problem.ErrUnavailable, "the archive broke off: "+err.Error())
		}
		if err := unpackOne(root, h, rename, in, skipped); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

func unpackOne(root *os.Root, h *tar.Header, rename func(string) string, content io.Reader, skipped func(string)) error {
	name, mode := rename(h.Name), fs.FileMode(h.Mode)&fs.ModePerm //nolint:gosec // the lowest nine bits
	if name == "" {
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		if err := root.MkdirAll(name, 0o700); err != nil {
			return err
		}
		return root.Chmod(name, mode|0o700) // what comes later must get in
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if info, err := root.Lstat(name); err == nil && !info.IsDir() {
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return writeFile(root, name, mode, content)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(rename(h.Linkname), name)
	}
	skipped(h.Name)
	return nil
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}
