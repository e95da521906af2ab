package container

import (
	"fmt"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Space is what there is on the disk where the engine keeps images and
// containers. The zero value is a disk that can't be looked at.
type Space struct {
	Known bool
	Path  string            // where the engine keeps them
	Total quantity.ByteSize // size of the disk
	Free  quantity.ByteSize // what anybody may still write, not root alone
	Keep  quantity.ByteSize // what must stay free
}

// Room returns an error of kind problem.ErrExhausted, with what at its head,
// where less would be free than must stay once more bytes are written. On a
// disk that isn't known there is room for anything.
func (s Space) Room(what string, more quantity.ByteSize) error {
	if !s.Known || s.Free-more >= s.Keep {
		return nil
	}
	why := fmt.Sprintf("the engine's disk has %s free", s.Free.Rounded())
	if more > 0 {
		why += fmt.Sprintf(", this takes %s", more.Rounded())
	}
	return &problem.Error{
		What: what, Why: problem.Because(problem.ErrExhausted, fmt.Sprintf("%s, and %s must stay free (disk.keep_free in ds01.yaml)", why, s.Keep.Rounded())),
		Next: "Remove what you don't need: 'docker image prune -a', 'docker container prune'; or ask your administrators for room.",
	}
}
