package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// MiB is one in bytes.
const MiB = 1 << 20

// ControlGroups reads control groups, of v1 or v2.
type ControlGroups struct {
	t  *testing.T
	v2 bool
}

// NewControlGroups returns those of this host.
func NewControlGroups(t *testing.T) ControlGroups {
	t.Helper()
	return ControlGroups{t, v2()}
}

// v2 tells which control groups this host has.
func v2() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// files names, for each thing that is read, its controller and file on v1 and
// its file on v2.
func files() map[string][3]string {
	return map[string][3]string{
		"memory limit":  {"memory", "memory.limit_in_bytes", "memory.max"},
		"memory high":   {"memory", "", "memory.high"}, // v1 has nothing like it
		"memory in use": {"memory", "memory.usage_in_bytes", "memory.current"},
		"memory events": {"memory", "memory.oom_control", "memory.events"},
		"tasks limit":   {"pids", "pids.max", "pids.max"},
		"tasks in use":  {"pids", "pids.current", "pids.current"},
		"tasks events":  {"pids", "pids.events", "pids.events"},
		"cpu quota":     {"cpu", "cpu.cfs_quota_us", "cpu.max"},
		"cpu events":    {"cpu", "cpu.stat", "cpu.stat"},
		"read rates":    {"blkio", "blkio.throttle.read_bps_device", "io.max"},
		"write rates":   {"blkio", "blkio.throttle.write_bps_device", "io.max"},
	}
}

// GoFirst gives the lab's running containers the processors before all others.
func (g ControlGroups) GoFirst(l *Lab) {
	g.t.Helper()
	file, most := "/sys/fs/cgroup/cpu/%s/cpu.shares", "262144"
	if g.v2 {
		file, most = "/sys/fs/cgroup/%s/cpu.weight", "10000"
	}
	found := false
	for _, group := range l.Groups() { // a slice without containers may not be there
		err := os.WriteFile(fmt.Sprintf(file, group), []byte(most), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			g.t.Fatal(err)
		}
		found = found || err == nil
	}
	if !found {
		g.t.Fatalf("none of the groups %v is there", l.Groups())
	}
}

// Read returns what the kernel says in the group of a container's process, or
// levels above it.
func (g ControlGroups) Read(pid, what string, above int) string {
	g.t.Helper()
	f := files()[what]
	table, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for range above {
			path = filepath.Dir(path)
		}
		if g.v2 && controllers == "" {
			return g.text(filepath.Join("/sys/fs/cgroup", path, f[2]))
		}
		if !g.v2 && strings.Contains(","+controllers+",", ","+f[0]+",") {
			return g.text(filepath.Join("/sys/fs/cgroup", f[0], path, f[1]))
		}
	}
	g.t.Fatalf("process %s is in no group for %s", pid, what)
	return ""
}

func (g ControlGroups) text(path string) string {
	g.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// Number is read for what is one number, or "QUOTA PERIOD".
func (g ControlGroups) Number(pid, what string, above int) int64 {
	g.t.Helper()
	first, _, _ := strings.Cut(g.Read(pid, what, above), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
	return n
}

// Field is read for one line "key value"; a missing one is 0.
func (g ControlGroups) Field(pid, what, key string, above int) int64 {
	g.t.Helper()
	for line := range strings.Lines(g.Read(pid, what, above)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				g.t.Fatalf("%s: %v", what, err)
			}
			return n
		}
	}
	return 0
}
