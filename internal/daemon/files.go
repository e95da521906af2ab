package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// makeFolders makes what the daemon writes into. The run folder is open to
// everybody, for the API socket in it; what is private below it is 0700.
func makeFolders(p config.Paths) error {
	for _, f := range []struct {
		path string
		mode os.FileMode
	}{
		{filepath.Dir(p.Database), 0o700},
		{p.RunDir, 0o755},
		{p.DeviceNodes, 0o700},
		{p.Mounts, 0o700},
		{p.Doors, 0o700},
	} {
		if err := os.MkdirAll(f.path, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(f.path, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// volumeData is how the engine calls the directory of each volume's files.
const volumeData = "_data"

// tidyMounts takes away what a daemon that was killed has put over volumes, and
// the mounts of claims that the store doesn't know: it was lost, or put back
// from a backup. A container that runs keeps what it has mounted.
func (d *daemon) tidyMounts(ctx context.Context) error {
	covered, err := mount.Covers(d.paths.Mounts, volumeData)
	if err != nil {
		return err
	}
	for _, path := range covered {
		if err := mount.UncoverDir(path, d.paths.Mounts); err != nil {
			return err // a container would find its volume empty
		}
	}
	if err := mount.TidyLayers(d.paths.Mounts); err != nil {
		return err
	}
	if err := mount.TidySnapshots(); err != nil {
		return err
	}
	points, err := filepath.Glob(filepath.Join(d.paths.Mounts, "*", "*"))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, point := range points {
		claim := filepath.Base(filepath.Dir(point))
		if _, known := d.ledger.Record(claim); known {
			continue
		}
		d.Log.WarnContext(ctx, "mount of an unknown claim taken away", "path", point)
		if err := mount.Unmount(point); err != nil {
			d.Log.ErrorContext(ctx, "mount not taken away", "path", point, "error", err)
		}
	}
	return nil
}

// lockFile holds the lock until the result is called. The kernel drops it
// when the process ends, however it ends.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the daemon's own file
	if err != nil {
		return nil, &problem.Error{What: "ds01 daemon not started", Why: problem.Because(problem.ErrUnavailable, err.Error()), Next: "Check the disk and the folder's permissions."}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		why := problem.Because(problem.ErrConflict, fmt.Sprintf("another ds01 daemon holds %s", path))
		if !errors.Is(err, unix.EWOULDBLOCK) {
			why = problem.Because(problem.ErrUnavailable, err.Error())
		}
		return nil, errors.Join(&problem.Error{What: "ds01 daemon not started", Why: why, Next: "Stop the other one, or give this one a --root of its own."}, f.Close())
	}
	return f.Close, nil
}
