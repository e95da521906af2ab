package gateway

import (
	"io"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// EditLoaded copies an archive as it is sent on for somebody, and returns the
// names that its images get, and the making whose marks they have instead.
func EditLoaded(to io.Writer, from io.Reader, uid int) (names [][]string, m container.Making, err error) {
	m = container.Making{ID: "0123", UID: uid}
	l := &loading{uid: uid, begin: func(wanted [][]string) (container.Making, error) {
		names = wanted
		return m, nil
	}, room: func(quantity.ByteSize) error { return nil }}
	plain, err := uncompressed(from)
	if err == nil {
		err = l.editor().edit(to, plain)
	}
	return names, m, err
}

// Beside does something beside the caller.
func Beside(do func()) (wait func()) { return beside(do) }
