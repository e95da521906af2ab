package step_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/step"
)

// A bundle is what BuildKit starts: its folder, and a runc that stands in for
// the real one and does as a script says in the step's root.
func bundle(t *testing.T, args, mounts []string, script string) (dir, path string) {
	t.Helper()
	dir, path = filepath.Join(t.TempDir(), "buildkit/executor/abc"), t.TempDir()
	var places []map[string]string
	for _, m := range mounts {
		places = append(places, map[string]string{"destination": m})
	}
	config := map[string]any{
		"ociVersion": "1.0.2", "root": map[string]any{"path": "rootfs"}, "mounts": places, "hooks": map[string]any{"prestart": []any{}},
		"process": map[string]any{"args": args, "cwd": "/", "capabilities": map[string][]string{"bounding": {"CAP_CHOWN", "CAP_MKNOD"}}},
		"linux":   map[string]any{"cgroupsPath": "system.slice:docker:abc", "seccomp": map[string]any{"x": 1.5}},
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "rootfs/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(data), 0o600)
	write(t, filepath.Join(dir, "rootfs/etc/hosts"), "", 0o644)
	write(t, filepath.Join(dir, "rootfs/etc/resolv.conf"), "", 0o644)
	write(t, filepath.Join(path, step.Program), "#!/bin/sh\necho \"$@\" > "+dir+"/called\ncd "+dir+"/rootfs\n"+script+"\n", 0o755)
	return dir, path
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// run runs what stands in for runc, as BuildKit does.
func run(t *testing.T, dir, path string) (code int, said string) {
	t.Helper()
	var errs bytes.Buffer
	code = step.Run(t.Context(), []string{"/usr/lib/ds01/steps/runc", "--log", "x", "run", "--bundle", dir, "id1"}, path, &errs)
	return code, errs.String()
}

type config struct {
	Process struct {
		Args         []string
		Capabilities map[string][]string
	}
	Linux struct {
		CgroupsPath string
		Seccomp     map[string]float64
	}
	Hooks map[string]any
}

func read(t *testing.T, dir string) (c config) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAStepRunsInItsPersonsGroup(t *testing.T) {
	dir, path := bundle(t, admission.KitStepIn("/ds01/u1001", []string{"sh", "-c", "true"}), nil, "exit 3")
	if code, said := run(t, dir, path); code != 3 || said != "" {
		t.Errorf("exit code %d: %s", code, said)
	}
	c := read(t, dir)
	if !slices.Equal(c.Process.Args, []string{"sh", "-c", "true"}) || c.Linux.CgroupsPath != "/ds01/u1001/build-abc" {
		t.Errorf("it runs %q in %s", c.Process.Args, c.Linux.CgroupsPath)
	}
	if got := c.Process.Capabilities["bounding"]; !slices.Equal(got, []string{"CAP_CHOWN"}) {
		t.Errorf("it may %q", got)
	}
	if c.Linux.Seccomp["x"] != 1.5 || c.Hooks == nil {
		t.Errorf("the rest isn't as it was: %+v", c)
	}
	called, err := os.ReadFile(filepath.Join(dir, "called"))
	if err != nil || string(called) != "--log x run --bundle "+dir+" id1\n" {
		t.Errorf("runc was asked for %q, %v", called, err)
	}
}

func TestAGroupIsAnAbsolutePathOrASlice(t *testing.T) {
	for _, group := range []string{"", "/", "ds01", "/ds01/../x", "/ds01/", "x/ds01.slice", "ds01.slice:x"} {
		dir, path := bundle(t, admission.KitStepIn(group, []string{"true"}), nil, "")
		if code, said := run(t, dir, path); code == 0 || !strings.Contains(said, "no control group") {
			t.Errorf("%q: exit code %d: %s", group, code, said)
		}
	}
}

// A step may lead BuildKit's way to the files that it removes out of its own
// file system.
func TestAStepLeavesNoLinkOnTheWayOfAMount(t *testing.T) {
	outside := t.TempDir()
	dir, path := bundle(t, admission.KitStepIn("/ds01/u1", []string{"true"}), []string{"/proc", "/way/on/victim", "/in/x"},
		"mkdir -p real; ln -s "+outside+" way; ln -s real in")
	if code, said := run(t, dir, path); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if _, err := os.Lstat(filepath.Join(dir, "rootfs/way")); !os.IsNotExist(err) {
		t.Errorf("the link out is there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "rootfs/in")); err != nil {
		t.Errorf("the link inside has gone: %v", err)
	}
}

func TestAMountBehindALinkIsRefused(t *testing.T) {
	dir, path := bundle(t, admission.KitStepIn("/ds01/u1", []string{"true"}), []string{"/var/run/x"}, "touch ran")
	if err := os.Mkdir(filepath.Join(dir, "rootfs/var"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "rootfs/var/run")); err != nil {
		t.Fatal(err)
	}
	if code, said := run(t, dir, path); code == 0 || !strings.Contains(said, "/var/run is a link") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "rootfs/ran")); err == nil {
		t.Error("the step ran")
	}
}

func TestWithoutRuncNothingRuns(t *testing.T) {
	dir, _ := bundle(t, admission.KitStepIn("/ds01/u1", []string{"true"}), nil, "")
	self := t.TempDir()
	if err := os.Symlink("/proc/self/exe", filepath.Join(self, step.Program)); err != nil {
		t.Fatal(err)
	}
	if code, said := run(t, dir, self); code == 0 || !strings.Contains(said, "find runc") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// The arguments of a container are its owner's own.
func TestContainersAreRuncsAsTheyAre(t *testing.T) {
	asked := admission.KitStepIn("/ds01/u1", []string{"true"})
	for name, c := range map[string]struct {
		bundle string // "": where BuildKit has it
		args   []string
		want   bool
	}{
		"a step":                                {"", asked, true},
		"a step that didn't come through us":    {"", []string{"true"}, false},
		"a container with the step's words":     {"/run/containerd/io.containerd.runtime.v2.task/moby/abc", asked, false},
		"a container of such an id":             {"/run/buildkit/io.containerd.runtime.v2.task/executor/abc", asked, false},
		"a folder named from elsewhere":         {"buildkit/executor/abc", asked, false},
		"a step of nothing":                     {"", asked[:3], false},
		"a step with a program before the rest": {"", append([]string{"sh"}, asked[1:]...), false},
	} {
		dir, _ := bundle(t, c.args, nil, "")
		t.Chdir(filepath.Join(dir, "../../.."))
		if c.bundle != "" {
			moved := c.bundle
			if filepath.IsAbs(moved) {
				moved = filepath.Join(t.TempDir(), moved)
				if err := errors.Join(os.MkdirAll(filepath.Dir(moved), 0o755), os.Rename(dir, moved)); err != nil {
					t.Fatal(err)
				}
			}
			dir = moved
		}
		if got, err := step.Ours(dir); got != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestAStepRunsInItsPersonsSlice(t *testing.T) {
	dir, path := bundle(t, admission.KitStepIn("ds01-u1001.slice", []string{"true"}), nil, "")
	if code, said := run(t, dir, path); code != 0 || said != "" {
		t.Errorf("exit code %d: %s", code, said)
	}
	if c := read(t, dir); c.Linux.CgroupsPath != "ds01-u1001.slice:ds01-build:abc" {
		t.Errorf("it runs in %s", c.Linux.CgroupsPath)
	}
	called, err := os.ReadFile(filepath.Join(dir, "called"))
	if err != nil || string(called) != "--systemd-cgroup --log x run --bundle "+dir+" id1\n" {
		t.Errorf("runc was asked for %q, %v", called, err)
	}
}
