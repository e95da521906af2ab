package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/problem"
)

func TestAFullDiskLeavesNoHalfLine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small disk: run it as root")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(folder, 0)
	path := filepath.Join(folder, "audit.jsonl")
	l := audit.Open(path, options())
	written := 0
	var err error
	for err == nil {
		if _, err = l.Append(done("x")); err == nil {
			written++
		}
	}
	if !errors.Is(err, problem.ErrUnavailable) || !errors.Is(l.Ready(), problem.ErrUnavailable) {
		t.Fatalf("after %d: %v", written, err)
	}
	wantWhole(t, path, written)
	if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "size=128k"); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1)
	shut(t, l)
	wantWhole(t, path, written+2)
}
