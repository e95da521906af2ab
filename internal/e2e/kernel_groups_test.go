package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const mib = 1 << 20

// groups reads control groups, of v1 or v2.
type groups struct {
	t  *testing.T
	v2 bool
}

func newGroups(t *testing.T) groups { return groups{t, v2()} }

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
	}
}

// read returns what the kernel says in the group of a container's process, or
// levels above it.
func (g groups) read(pid, what string, above int) string {
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

func (g groups) text(path string) string {
	g.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// number is read for what is one number, or "QUOTA PERIOD".
func (g groups) number(pid, what string, above int) int64 {
	g.t.Helper()
	first, _, _ := strings.Cut(g.read(pid, what, above), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
	return n
}

// field is read for one line "key value"; a missing one is 0.
func (g groups) field(pid, what, key string, above int) int64 {
	g.t.Helper()
	for line := range strings.Lines(g.read(pid, what, above)) {
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
