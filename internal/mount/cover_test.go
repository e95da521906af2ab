package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
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
				must(t, mount.Cover(r, nil))
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
	must(t, mount.Cover(r, nil))
	if list, err := at.ReadDir(0); err != nil || len(list) != 1 {
		t.Errorf("it sees %v, %v", list, err)
	}
}

func TestWhatCannotBeMountedCannotBeCovered(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	if err := mount.Cover(p.request(filepath.Join(p.home, "none"), nil), nil); err == nil {
		t.Error("it is covered")
	}
}

func TestACoverHoldsTheMountPointsInside(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	p.file(filepath.Join(p.home, "file"), p.own.UID, p.own.GID, 0o600, "text")
	inside := map[string]string{"a/b": p.home, "a/c/f": filepath.Join(p.home, "file")}
	r := p.request(p.home, as(0, 0))
	must(t, mount.Cover(r, inside))
	for name, dir := range map[string]bool{"a/b": true, "a/c/f": false} {
		if info, err := os.Lstat(filepath.Join(r.Target, name)); err != nil || info.IsDir() != dir || !dir && info.Size() > 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.Target, "a/x"), 0o700); !errors.Is(err, unix.EROFS) {
		t.Errorf("it can be written to: %v", err)
	}
	must(t, mount.Unmount(r.Target))
	if err := mount.Cover(r, map[string]string{"a": filepath.Join(p.home, "none")}); err == nil {
		t.Error("a mount point for what isn't there")
	}
}

func TestADirectoryIsCoveredAndReadUnderItsCover(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	dir := filepath.Join(p.dir, "volumes", "v", "_data")
	p.folder(filepath.Dir(filepath.Dir(dir)), 0, 0, 0o700)
	p.folder(filepath.Dir(dir), 0, 0, 0o700)
	p.folder(dir, 0, 0, 0o777)
	p.file(filepath.Join(dir, "file"), 0, 0, 0o600, "text")
	mark := p.dir + "/mnt"
	open, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for range 2 { // as after a daemon that was killed
		must(t, mount.CoverDir(dir, mark, map[string]string{"sub": p.home}))
	}
	if got, err := mount.Covers(mark, "_data"); err != nil || len(got) != 1 || got[0] != dir {
		t.Errorf("covered: %v, %v", got, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != "sub" {
		t.Errorf("it shows %v, %v", list, err)
	}
	if list, err := open.ReadDir(0); err != nil || len(list) != 1 || list[0].Name() != "file" {
		t.Errorf("who uses it sees %v, %v", list, err)
	}
	root, err := mount.Under(dir, mark)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if data, err := root.ReadFile("file"); err != nil || string(data) != "text" {
		t.Errorf("under it is %q, %v", data, err)
	}
	must(t, root.WriteFile("new", nil, 0o600))
	if err := unix.Mknodat(int(open.Fd()), "node", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err == nil { // not everywhere root may
		if _, err := root.Open("node"); !errors.Is(err, unix.EACCES) {
			t.Errorf("a device is opened: %v", err)
		}
		must(t, root.Remove("node"))
	}
	must(t, mount.UncoverDir(dir, "another's"))
	if got, _ := mount.Covers(mark, "_data"); len(got) != 1 {
		t.Error("another's mark uncovers it")
	}
	for range 2 {
		must(t, mount.UncoverDir(dir, mark))
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("afterwards it holds %v, %v", list, err)
	}
}

func TestWhatAnAdministratorMountedIsNeitherCoveredNorReadUnder(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	dir := filepath.Join(p.dir, "v", "_data")
	p.folder(filepath.Dir(dir), 0, 0, 0o700)
	p.folder(dir, 0, 0, 0o700)
	must(t, unix.Mount("ds01t", dir, "tmpfs", 0, ""))
	if err := mount.CoverDir(dir, "mark", nil); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("covered: %v", err)
	}
	if _, err := mount.Under(dir, "mark"); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("read under: %v", err)
	}
	must(t, mount.UncoverDir(dir, "mark"))
	if got, err := mount.List(p.dir); err != nil || len(got) != 1 {
		t.Errorf("left are %v, %v", got, err)
	}
}

// A container has its volumes as slaves of the host's mounts, where these are
// shared.
func TestACoverDoesNotShowUpWhereTheDirectoryIsMounted(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	dir, elsewhere := filepath.Join(p.dir, "host", "v", "_data"), filepath.Join(p.dir, "elsewhere")
	for _, folder := range []string{filepath.Join(p.dir, "host"), elsewhere} {
		p.folder(folder, 0, 0, 0o700)
	}
	must(t, unix.Mount("ds01t", filepath.Join(p.dir, "host"), "tmpfs", 0, ""))
	must(t, unix.Mount("", filepath.Join(p.dir, "host"), "", unix.MS_SHARED, ""))
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, unix.Mount(dir, elsewhere, "", unix.MS_BIND, ""))
	must(t, unix.Mount("", elsewhere, "", unix.MS_SLAVE, ""))
	must(t, mount.CoverDir(dir, "mark", nil))
	for path, want := range map[string]int{dir: 0, elsewhere: 1} {
		if list, err := os.ReadDir(path); err != nil || len(list) != want {
			t.Errorf("in %s are %v, %v", path, list, err)
		}
	}
	must(t, mount.UncoverDir(dir, "mark"))
}
