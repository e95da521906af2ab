package gateway

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// An editor changes the documents of an archive of images on their way. What
// isn't named passes.
type editor struct {
	documents map[string]func([]byte) ([]byte, error) // by the entry's name; nil leaves the entry out
	end       func() error                            // asked before the archive's end is written; nil: no
	scale     *scale                                  // weighs what isn't a document; nil: nobody does
}

// edit copies an archive. Every entry is written anew with a clean name and no
// attributes, so that whoever reads it next reads what was read here: an entry
// that climbs, one that lies behind a link, and a document that is a link are
// errors of kind problem.ErrInvalid.
func (e editor) edit(to io.Writer, from io.Reader) error {
	out, links := tar.NewWriter(to), map[string]bool{}
	for in := tar.NewReader(from); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return e.finish(out)
		}
		if err != nil {
			return unreadable(err.Error())
		}
		name, err := e.check(header, links)
		if err != nil {
			return err
		}
		if name == "." {
			continue
		}
		if err := e.copy(out, in, header, name); err != nil {
			return err
		}
	}
}

func (e editor) finish(out *tar.Writer) error {
	if e.end != nil {
		if err := e.end(); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	return nil
}

func unreadable(why string) error {
	return &problem.Error{
		What: "Archive not read", Why: problem.Because(problem.ErrInvalid, why),
		Next: "Send what 'docker save' writes, plain or compressed with gzip or bzip2.",
	}
}

// check returns an entry's clean name.
func (e editor) check(h *tar.Header, links map[string]bool) (string, error) {
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	_, document := e.documents[name]
	switch {
	case name == ".." || strings.HasPrefix(name, "../") || strings.ContainsAny(name, "\\\x00"):
		return "", unreadable(fmt.Sprintf("the entry %q lies outside", h.Name))
	case h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink:
		if document {
			return "", unreadable(fmt.Sprintf("%s is a link", name))
		}
		links[name] = true
	case sparse(h):
		return "", unreadable(fmt.Sprintf("the entry %q is sparse", h.Name))
	case h.Typeflag == tar.TypeDir && !document, h.Typeflag == tar.TypeReg:
	default:
		return "", unreadable(fmt.Sprintf("the entry %q is of a kind that archives of images don't hold", h.Name))
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if links[dir] {
			return "", unreadable(fmt.Sprintf("the entry %q lies behind a link", h.Name))
		}
	}
	return name, nil
}

// sparse reports whether an entry is longer than what was sent of it: a few
// bytes could fill the disk.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// copy writes one entry, edited if it is a document.
func (e editor) copy(out *tar.Writer, in *tar.Reader, h *tar.Header, name string) error {
	clean := &tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Mode: h.Mode & 0o777, Size: h.Size, ModTime: h.ModTime}
	var content io.Reader = in
	if change, ok := e.documents[name]; ok {
		data, err := io.ReadAll(io.LimitReader(in, admission.MaxBody+1))
		if err == nil && len(data) > admission.MaxBody {
			err = unreadable(fmt.Sprintf("%s has more than %d bytes", name, admission.MaxBody))
		}
		if err == nil {
			data, err = change(data)
		}
		if err != nil || data == nil {
			return err
		}
		clean.Size, content = int64(len(data)), bytes.NewReader(data)
	}
	if h.Typeflag == tar.TypeDir {
		clean.Name += "/"
	}
	if err := out.WriteHeader(clean); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if _, document := e.documents[name]; !document && e.scale != nil && h.Size > 0 {
		weighed, done, err := e.scale.weigh(content)
		if err != nil {
			return err
		}
		defer done()
		content = weighed
	}
	if _, err := io.Copy(out, content); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}

// uncompressed returns an archive of images without its compression.
func uncompressed(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(6)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read the archive: %w", err)
	case len(magic) == 0:
		return nil, unreadable("it is empty")
	case xzOrZstd(magic):
		return nil, unreadable("it is compressed with xz or zstd")
	}
	return inflated(buffered)
}

// inflated returns what a client sent without its compression, if that is by
// gzip or bzip2.
func inflated(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(6)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read the archive: %w", err)
	case gzipped(magic):
		return gzip.NewReader(buffered)
	case bzipped(magic):
		return bzip2.NewReader(buffered), nil
	}
	return buffered, nil
}

// How compressed streams begin.
func gzipped(magic []byte) bool { return bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) }

func bzipped(magic []byte) bool { return bytes.HasPrefix(magic, []byte("BZh")) }

func xzOrZstd(magic []byte) bool {
	return bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z'}) || bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd})
}
