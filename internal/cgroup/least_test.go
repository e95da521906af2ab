package cgroup_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is held is a shell's 8 MB, what can go is the file that it has written.
func TestTheLeastLimitIsWhatIsHeldAndAMargin(t *testing.T) {
	tree, parent := host(t)
	ensure(t, tree, parent, bounds(-1, 256*MiB, -1))
	group := filepath.Join(parent, "u1001")
	if has, err := tree.Limit(group); err != nil || has != 256*MiB {
		t.Errorf("limit %d, %v", has, err)
	}
	if least, err := tree.Least(group, 64*MiB); err != nil || least != 16*MiB {
		t.Errorf("of nothing: %s, %v", least, err)
	}
	path := filepath.Join(t.TempDir(), "f")
	running(t, tree, group, "head -c 30000000 /dev/zero >"+path+"; sync "+path+"; x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo ready; sleep 60")
	least, err := tree.Least(group, 28*MiB)
	if err != nil || least < 23*MiB || least > 45*MiB { // a shell may hold it twice
		t.Errorf("least %s, %v", least, err)
	}
	if err := tree.Ensure(parent, "u1001", bounds(-1, least, -1)); err != nil {
		t.Errorf("lowered to %s: %v", least, err)
	}
	time.Sleep(50 * time.Millisecond)
	if events := read(t, file(tree, group, "memory.oom_control", "memory.events")); !strings.Contains(events, "oom_kill 0") {
		t.Errorf("something was ended: %s", events)
	}
	if _, err := tree.Least(filepath.Join(parent, "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no group: %v", err)
	}
}
