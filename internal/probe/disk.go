package probe

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/quantity"
)

// Disk returns the size of the disk that path is on, and what anybody may
// still write there; what is left to root alone isn't counted.
func Disk(path string) (total, free quantity.ByteSize, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	size := func(blocks uint64) quantity.ByteSize { return quantity.ByteSize(int64(blocks) * st.Bsize) } //nolint:gosec // no disk is that large
	return size(st.Blocks), size(st.Bavail), nil
}
