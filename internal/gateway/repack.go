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

	"ds01.dev/ds01/internal/problem"
)

// unpacked returns a client's archive as it was before it was compressed: old
// engines would have a program of the container's do that, as root of the
// host. encoding is the request's Content-Encoding.
func unpacked(body io.Reader, encoding string) (io.Reader, error) {
	refuse := func(how string) error {
		return &problem.Error{
			What: "Files not copied", Why: problem.Because(problem.ErrDenied, "archives compressed by "+how+" are not read"),
			Next: "Send the archive as it is, or compressed by gzip or bzip2.",
		}
	}
	in := bufio.NewReaderSize(body, 64<<10)
	switch encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		plain, err := gzip.NewReader(in)
		if err != nil {
			return nil, badArchive(err)
		}
		in = bufio.NewReaderSize(plain, 64<<10)
	default:
		return nil, refuse(encoding)
	}
	begin, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, badArchive(err)
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b, 0x08}):
		plain, err := gzip.NewReader(in)
		if err != nil {
			return nil, badArchive(err)
		}
		return plain, nil
	case bytes.HasPrefix(begin, []byte("BZh")):
		return bzip2.NewReader(in), nil
	case bytes.HasPrefix(begin, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, refuse("xz")
	case bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, refuse("zstd")
	}
	return in, nil
}

func badArchive(err error) error {
	var known *problem.Error
	if errors.As(err, &known) || errors.Is(err, io.ErrClosedPipe) { // the engine, not the client, is at fault
		return err
	}
	return &problem.Error{
		What: "Files not copied", Why: problem.Because(problem.ErrInvalid, "what was sent is no whole tar archive: "+err.Error()),
		Next: "What came before is in the container; copy the rest again.",
	}
}

// trailer bounds what is read behind the end of an archive.
const trailer = 1 << 20

// repack writes a tar archive anew: each header as review returns it, each
// file's bytes as they are. A refusal is returned as it is; what came before
// it has been written.
func repack(to io.Writer, from io.Reader, review func(*tar.Header) (*tar.Header, error)) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	buf := make([]byte, 64<<10)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badArchive(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // it names no file, and the engine skips it as well
		}
		ours, err := review(h)
		if err != nil {
			return err
		}
		if err := out.WriteHeader(ours); err != nil {
			return badArchive(err)
		}
		if _, err := io.CopyBuffer(out, struct{ io.Reader }{in}, buf); err != nil {
			return badArchive(err)
		}
	}
	if _, err := io.CopyN(io.Discard, from, trailer); err != nil && !errors.Is(err, io.EOF) {
		return badArchive(err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	return nil
}
