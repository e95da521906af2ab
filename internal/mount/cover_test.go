package mount_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
)

func TestACoverIsEmptyAndCannotBeWrittenTo(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	p.file(filepath.Join(p.home, "file"), p.own.UID, p.own.GID, 0o600, "text")
	for name, source := range map[string]string{"a directory": p.home, "a file": filepath.Join(p.home, "file")} {
		t.Run(name, func(t *testing.T) {
			r := p.request(source, as(0, 0))
			for _, mounted := range []bool{false, true} {
				if mounted {
					p.mounted(r)
				}
				must(t, mount.Cover(r))
				inside := r.Target
				if name == "a directory" {
					inside = filepath.Join(inside, "new")
					if list, err := os.ReadDir(r.Target); err != nil || len(list) > 0 {
						t.Errorf("mounted before: %t: it holds %v, %v", mounted, list, err)
					}
				} else if data, err := os.ReadFile(r.Target); err != nil || len(data) > 0 {
					t.Errorf("mounted before: %t: it holds %q, %v", mounted, data, err)
				}
				if fd, err := unix.Open(inside, unix.O_WRONLY|unix.O_CREAT, 0o600); err != unix.EROFS {
					unix.Close(fd)
					t.Errorf("mounted before: %t: it can be written to: %v", mounted, err)
				}
				must(t, mount.Unmount(r.Target))
			}
			if left, err := mount.List(p.dir); err != nil || len(left) > 0 {
				t.Errorf("still mounted: %v, %v", left, err)
			}
		})
	}
	if data, err := os.ReadFile(filepath.Join(p.home, "file")); err != nil || string(data) != "text" {
		t.Errorf("the source holds %q, %v", data, err)
	}
}

func TestWhoUsesAMountKeepsItUnderACover(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	p.file(filepath.Join(p.home, "file"), p.own.UID, p.own.GID, 0o600, "text")
	r := p.request(p.home, as(0, 0))
	at, err := os.Open(p.mounted(r))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	must(t, mount.Cover(r))
	if list, err := at.ReadDir(0); err != nil || len(list) != 1 {
		t.Errorf("it sees %v, %v", list, err)
	}
}

func TestWhatCannotBeMountedCannotBeCovered(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	if err := mount.Cover(p.request(filepath.Join(p.home, "none"), nil)); err == nil {
		t.Error("it is covered")
	}
}
