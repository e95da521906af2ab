package gateway

import "io"

// EditLoaded copies an archive as it is sent on for somebody, and returns the
// names that were in it.
func EditLoaded(to io.Writer, from io.Reader, uid int) ([][]string, error) {
	l := &loading{uid: uid}
	plain, err := uncompressed(from)
	if err == nil {
		err = l.editor().edit(to, plain)
	}
	return l.names, err
}
