//go:build systemd

// These tests run where systemd is the first process and keeps the control
// groups, as root: tools/vm-test.sh brings a machine for them.
package images_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestBuildsUnderSystemd is what people build on a host as distributions ship
// it: control groups v2, made by systemd.
func TestBuildsUnderSystemd(t *testing.T) {
	l := start(t, lab.Options{
		Systemd: true, Slow: 6, Users: []string{"alice", "bob"},
		Limits: "defaults: {aggregate: {memory: 64M, tasks: 40}}\n",
	})
	for _, s := range []struct {
		name  string
		story func(*testing.T, *lab.Lab)
	}{
		{"secrets and caches are one's own", secretsAndCachesAreOnesOwn},
		{"a step lies in the slice of its owner", aStepLiesInItsOwnersSlice},
		{"steps are held to the person's limits", stepsEndAtTheLimits},
		{"a container is no step, whatever it says", aContainerIsNoStep},
		{"a step has no more than the site's policy leaves", aStepIsMadeLessOf},
	} {
		t.Run(s.name, func(t *testing.T) {
			defer clearImages(l)
			s.story(t, l)
		})
	}
}

// aStepLiesInItsOwnersSlice looks at a step from outside, and that its scope
// goes with it.
func aStepLiesInItsOwnersSlice(t *testing.T, l *lab.Lab) {
	slice := fmt.Sprintf("/ds01.slice/ds01-u%d.slice/", l.UID("alice"))
	if got := groupOfAStep(t, l); !strings.HasPrefix(got, slice+"ds01-build-") || !strings.HasSuffix(got, ".scope") {
		t.Errorf("the step is in %s, not in %s", got, slice)
	}
	l.Eventually("its scope is gone", 20*time.Second, func() bool { return len(globs(t, "/sys/fs/cgroup"+slice+"ds01-build-*")) == 0 })
}

// groupOfAStep returns in which control group a step of alice's runs.
func groupOfAStep(t *testing.T, l *lab.Lab) (group string) {
	t.Helper()
	built := make(chan lab.Result, 1)
	go func() { built <- kitBuilds(l, "alice", "FROM busybox\nRUN sleep 6.5\n", nil) }()
	l.Eventually("the step runs", 60*time.Second, func() bool {
		all, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, process := range all {
			if line, err := os.ReadFile(filepath.Join(process, "cmdline")); err != nil || string(line) != "sleep\x006.5\x00" {
				continue
			}
			if table, err := os.ReadFile(filepath.Join(process, "cgroup")); err == nil {
				group = strings.TrimPrefix(strings.TrimSpace(string(table)), "0::")
			}
		}
		return group != "" || len(built) > 0
	})
	kitBuilt(t, <-built)
	return group
}

// aStepIsMadeLessOf comes last: the site's policy stays.
func aStepIsMadeLessOf(t *testing.T, l *lab.Lab) {
	l.WritePolicy("builds.rego", buildSite)
	l.Reload()
	uid := l.UID("alice")
	within := fmt.Sprintf("/ds01.slice/ds01-u%d.slice/ds01-u%d-narrow_50331648_", uid, uid)
	group := groupOfAStep(t, l)
	if !strings.HasPrefix(group, within) {
		t.Errorf("the step is in %s, not in %s", group, within)
	}
	for file, want := range map[string]string{"memory.max": "50331648", "pids.max": "20"} {
		if got, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", filepath.Dir(group), file)); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %s, %v", file, got, err)
		}
	}
}
