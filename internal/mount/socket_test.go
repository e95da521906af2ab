package mount_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"ds01.dev/ds01/internal/mount"
)

func TestASocketsCloneLeadsToWhoListens(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	path, target := filepath.Join(p.dir, "listens"), filepath.Join(p.dir, "mnt/claim/0")
	must(t, mount.PrepareFile(target))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	defer l.Close()
	must(t, mount.Socket(path, target))
	must(t, os.Remove(path)) // its path may go
	conn, err := net.Dial("unix", target)
	must(t, err)
	defer conn.Close()
	must(t, mount.CoverFile(target))
	if _, err := net.Dial("unix", target); err == nil {
		t.Error("somebody listens at a cover")
	}
	if err := os.WriteFile(target, []byte("x"), 0o600); err == nil {
		t.Error("a cover can be written to")
	}
	if err := mount.Socket(path, target); err == nil {
		t.Error("what isn't there was mounted")
	}
	must(t, mount.Unmount(target))
	if left, err := mount.List(p.dir); err != nil || len(left) > 0 {
		t.Errorf("still mounted: %v, %v", left, err)
	}
}
