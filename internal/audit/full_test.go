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

// What can't be moved aside stays, however often it is tried.
func TestADiskWithoutRoomForAnotherFileLosesNone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a small disk: run it as root")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=1m,nr_inodes=4"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(folder, 0)
	path := filepath.Join(folder, "audit.jsonl")
	o := options()
	o.MaxSize, o.Keep = 1<<10, 3
	l := audit.Open(path, o)
	written := 0
	var err error
	for err == nil {
		if _, err = l.Append(done("x")); err == nil {
			written++
		}
	}
	for range 5 {
		if err := l.Ready(); !errors.Is(err, problem.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	wantWhole(t, path, written)
	if files, _ := audit.Files(path); len(files) != 3 || files[1] != path+".1" {
		t.Errorf("%v", files)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "size=1m,nr_inodes=100"); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1)
	shut(t, l)
	wantWhole(t, path, written+2)
}

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
