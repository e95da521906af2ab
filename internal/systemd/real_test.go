//go:build systemd

// These tests run where systemd is the first process, as root: tools/vm-test.sh
// brings a machine for them.
package systemd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/systemd"
)

const (
	uid   = 1512345678
	slice = "ds01t-u1512345678.slice"
)

func limits(cpus quantity.CPUs, memory quantity.ByteSize, tasks int64) systemd.Limits {
	l := systemd.Limits{
		CPUs: quantity.To(cpus * 1e8), Memory: quantity.To(memory << 20),
		MemoryHigh: quantity.None[quantity.ByteSize](), Tasks: quantity.To(tasks),
	}
	l.CPUs.Unlimited, l.Memory.Unlimited, l.Tasks.Unlimited = cpus == 0, memory == 0, tasks == 0
	return l
}

func TestSlicesOfARealSystemd(t *testing.T) {
	conn := systemd.New()
	t.Cleanup(func() { _ = conn.Close() }) // it never fails
	ensure := func(l systemd.Limits) {
		t.Helper()
		if err := conn.Ensure(context.Background(), slice, l); err != nil {
			t.Fatal(err)
		}
	}
	has := func(step, want string) {
		t.Helper()
		becomes(t, step, want, func() string { return values(t) })
	}
	ensure(limits(15, 64, 100))
	has("first", "150000 100000|67108864|0|100|")
	ensure(limits(15, 64, 100))
	has("again", "150000 100000|67108864|0|100|")
	ensure(limits(5, 32, 20))
	has("down", "50000 100000|33554432|0|20|")
	ensure(limits(0, 0, 0))
	has("without", "max 100000|max|max|max|")
	ensure(limits(20, 64, 20))
	has("up", "200000 100000|67108864|0|20|")
	systemctl(t, "daemon-reload")
	has("after a reload", "200000 100000|67108864|0|20|")
	systemctl(t, "set-property", "--runtime", slice, "TasksMax=infinity")
	has("changed by hand", "200000 100000|67108864|0|max|")
	ensure(limits(20, 64, 20))
	has("changed back", "200000 100000|67108864|0|20|")
	systemctl(t, "stop", slice)
	ensure(limits(10, 64, 20))
	has("after a stop", "100000 100000|67108864|0|20|")

	t.Run("an engine's scope in the slice is bounded", func(t *testing.T) {
		err := exec.Command("systemd-run", "--scope", "--slice", slice, "--unit", "docker-0123", "tail", "/dev/zero").Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL && exit.ExitCode() != 137 {
			t.Errorf("%v, want it killed", err)
		}
		out, err := exec.Command("systemd-run", "--scope", "--slice", slice, "sh", "-c", "for i in $(seq 40); do sleep 5 & done").CombinedOutput()
		if err == nil || !strings.Contains(strings.ToLower(string(out)), "fork") {
			t.Errorf("forty processes started: %v, %s", err, out)
		}
	})
	t.Run("a slice that the engine made first gets its limits", func(t *testing.T) {
		other := systemd.Slice("ds01t.slice", 7)
		systemctl(t, "start", other)
		if err := conn.Ensure(context.Background(), other, limits(10, 64, 20)); err != nil {
			t.Fatal(err)
		}
		becomes(t, "its tasks", "20", func() string {
			got, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/ds01t.slice", other, "pids.max"))
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(got))
		})
	})
}

// becomes waits until something is as wanted: systemd answers before it has written
// what it was told.
func becomes(t *testing.T, what, want string, is func() string) {
	t.Helper()
	got := is()
	for end := time.Now().Add(10 * time.Second); got != want && time.Now().Before(end); got = is() {
		time.Sleep(50 * time.Millisecond)
	}
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// values are what the kernel has of the slice.
func values(t *testing.T) (got string) {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/ds01t.slice", slice)
	for _, f := range []string{"cpu.max", "memory.max", "memory.swap.max", "pids.max"} {
		value, err := os.ReadFile(filepath.Join(dir, f))
		if errors.Is(err, os.ErrNotExist) && f == "cpu.max" {
			value, err = []byte("max 100000"), nil // systemd takes a controller away that sets nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		got += strings.TrimSpace(string(value)) + "|"
	}
	return got
}

func systemctl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("systemctl %v: %w: %s", args, err, out))
	}
}

func BenchmarkEnsureWithoutChange(b *testing.B) {
	conn := systemd.New()
	defer conn.Close()
	for b.Loop() {
		if err := conn.Ensure(context.Background(), slice, limits(10, 64, 20)); err != nil {
			b.Fatal(err)
		}
	}
}

// A device that a service is allowed stays allowed when systemd reads its units again,
// and one that is taken stays taken.
func TestADeviceIsAllowedByARealSystemd(t *testing.T) {
	const unit = "ds01t-device.service"
	if out, err := exec.Command("systemd-run", "--quiet", "--unit", unit, "--property=DevicePolicy=closed", "/bin/sleep", "1000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { systemctl(t, "stop", unit) })
	conn := systemd.New()
	t.Cleanup(func() { _ = conn.Close() }) // it never fails
	want := func(step string, devices ...string) {
		t.Helper()
		systemctl(t, "daemon-reload")
		out, err := exec.Command("systemctl", "show", "--value", "--property=DeviceAllow", unit).Output()
		got := slices.Sorted(strings.FieldsSeq(strings.ReplaceAll(string(out), " rw", "")))
		if err != nil || !slices.Equal(got, devices) {
			t.Errorf("%s systemd allows %q, %v", step, got, err)
		}
	}
	for range 2 { // once more is no more
		for _, minor := range []uint32{229, 200} {
			if err := conn.AllowDevice(t.Context(), unit, 10, minor); err != nil {
				t.Fatal(err)
			}
		}
	}
	want("with two", "/dev/char/10:200", "/dev/char/10:229")
	if err := conn.DenyDevice(t.Context(), unit, 10, 229); err != nil {
		t.Fatal(err)
	}
	want("with one taken", "/dev/char/10:200")
	if err := conn.DenyDevice(t.Context(), unit, 10, 200); err != nil {
		t.Fatal(err)
	}
	want("with both taken")
}
