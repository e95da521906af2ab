package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// freezePoll is the pause between two looks at whether all have stood still.
const freezePoll = 5 * time.Millisecond

// Freeze stops every process of a group and of those below it where it is, and
// returns once none of them runs. Who can't be stopped before ctx ends is an
// error, and the group runs on. An absent group is one that wraps
// os.ErrNotExist.
func (t *Tree) Freeze(ctx context.Context, group string) error {
	for {
		// On v1 the kernel tries once for each time it is told.
		if err := t.setFrozen(group, true); err != nil {
			return fmt.Errorf("freeze %s: %w", group, err)
		}
		if still, err := t.stands(group); err != nil || still {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("freeze %s: %w", group, ctx.Err()), t.Thaw(group))
		case <-time.After(freezePoll):
		}
	}
}

// Thaw lets a group run on. One that runs already, or isn't there, is no
// error.
func (t *Tree) Thaw(group string) error {
	if err := t.setFrozen(group, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("thaw %s: %w", group, err)
	}
	return nil
}

// Frozen reports whether a group was told to stand still. An absent one
// wasn't.
func (t *Tree) Frozen(group string) bool {
	path, _, running := t.freezer(group)
	data, err := os.ReadFile(path) //nolint:gosec // a file of the kernel
	return err == nil && strings.TrimSpace(string(data)) != running
}

// freezer returns the file that freezes a group, and what is written to it.
func (t *Tree) freezer(group string) (path, frozen, running string) {
	if t.version == 2 {
		return filepath.Join(t.root, group, "cgroup.freeze"), "1", "0"
	}
	return filepath.Join(t.root, "freezer", group, "freezer.state"), "FROZEN", "THAWED"
}

func (t *Tree) setFrozen(group string, frozen bool) error {
	path, value, running := t.freezer(group)
	if !frozen {
		value = running
	}
	// Opened as it is: a file that isn't there is told apart from one that
	// must not be made.
	f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // a file of the kernel
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// stands reports whether every process of a frozen group stands still.
func (t *Tree) stands(group string) (bool, error) {
	path, want, _ := t.freezer(group)
	if t.version == 2 {
		path, want = filepath.Join(t.root, group, "cgroup.events"), "frozen 1"
	}
	data, err := os.ReadFile(path) //nolint:gosec // a file of the kernel
	if err != nil {
		return false, fmt.Errorf("freeze %s: %w", group, err)
	}
	return strings.Contains(string(data), want), nil
}
