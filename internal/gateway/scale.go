package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"ds01.dev/ds01/internal/quantity"
)

// A scale tells what the layers of an archive take once the engine has
// unpacked them, however they are compressed.
type scale struct{ unpacked atomic.Int64 }

func (s *scale) weight() quantity.ByteSize { return quantity.ByteSize(s.unpacked.Load()) }

// Write weighs bytes that are unpacked.
func (s *scale) Write(p []byte) (int, error) {
	s.unpacked.Add(int64(len(p)))
	return len(p), nil
}

// weigh returns a layer that is weighed as it is read, and done, which waits
// until all that was read has been. One whose weight can't be told is an error
// of kind problem.ErrInvalid.
func (s *scale) weigh(layer io.Reader) (weighed io.Reader, done func(), err error) {
	in := bufio.NewReader(layer)
	magic, err := in.Peek(6)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, nil, fmt.Errorf("read the archive: %w", err)
	case xzOrZstd(magic):
		return nil, nil, unreadable("a layer in it is compressed with xz or zstd")
	case !gzipped(magic) && !bzipped(magic):
		return io.TeeReader(in, s), func() {}, nil
	}
	packed, to := io.Pipe()
	wait := beside(func() {
		defer io.Copy(io.Discard, packed) //nolint:errcheck // up to its end, which is no error
		if plain, err := uncompressed(packed); err == nil {
			_, _ = io.Copy(s, plain) // what is broken the engine doesn't unpack either
		}
	})
	return io.TeeReader(in, to), func() {
		_ = to.Close() // it returns nil
		wait()
	}, nil
}
