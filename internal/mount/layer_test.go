package mount_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/mount"
)

// layers returns those of a container whose image has a file in each of two.
func layers(t *testing.T) (l container.Layer, folder string) {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	path := func(name string) string {
		p := filepath.Join(dir, name)
		must(t, os.Mkdir(p, 0o755))
		return p
	}
	l = container.Layer{Lower: []string{path("top"), path("bottom")}, Upper: path("upper"), Work: path("work"), Merged: path("merged")}
	must(t, os.WriteFile(filepath.Join(l.Lower[0], "file"), []byte("top"), 0o644))
	must(t, os.WriteFile(filepath.Join(l.Lower[1], "file"), []byte("bottom"), 0o644))
	must(t, os.WriteFile(filepath.Join(l.Lower[1], "other"), []byte("bottom"), 0o644))
	must(t, unix.Mknod(filepath.Join(l.Upper, "gone"), unix.S_IFCHR, 0))
	must(t, os.WriteFile(filepath.Join(l.Lower[1], "gone"), nil, 0o644))
	return l, path("folder")
}

func opened(t *testing.T, l container.Layer, folder string, write bool) *os.Root {
	t.Helper()
	root, err := mount.Layer(l, folder, write)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	for name, want := range map[string]string{"file": "top", "other": "bottom"} {
		if got, err := root.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	if _, err := root.Lstat("gone"); !os.IsNotExist(err) {
		t.Errorf("what was removed is there: %v", err)
	}
	return root
}

func TestLayersOfAContainerThatDoesNotRun(t *testing.T) {
	l, folder := layers(t)
	if err := opened(t, l, folder, false).WriteFile("new", nil, 0o600); err == nil {
		t.Error("what is only to be read is written to")
	}
	must(t, opened(t, l, folder, true).WriteFile("new", []byte("text"), 0o600))
	if got, err := os.ReadFile(filepath.Join(l.Upper, "new")); err != nil || string(got) != "text" {
		t.Errorf("the upper layer has %q, %v", got, err)
	}
	if points, err := mount.List(folder); err != nil || len(points) > 0 {
		t.Errorf("mounted: %v, %v", points, err)
	}
}

func TestFilesOfAContainerThatRunsAreItsOwn(t *testing.T) {
	l, folder := layers(t)
	must(t, unix.Mount("overlay", l.Merged, "overlay", 0, "index=off,lowerdir="+l.Lower[0]+":"+l.Lower[1]+",upperdir="+l.Upper+",workdir="+l.Work))
	t.Cleanup(func() { unix.Unmount(l.Merged, unix.MNT_DETACH) })
	must(t, os.Mkdir(filepath.Join(l.Merged, "data"), 0o755))
	must(t, unix.Mount(l.Lower[0], filepath.Join(l.Merged, "data"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(filepath.Join(l.Merged, "data"), unix.MNT_DETACH) })
	root := opened(t, l, folder, true)
	if _, err := root.Lstat("data/file"); !os.IsNotExist(err) {
		t.Errorf("what is mounted in it is there: %v", err)
	}
	must(t, root.WriteFile("new", []byte("text"), 0o600))
	if got, err := os.ReadFile(filepath.Join(l.Merged, "new")); err != nil || string(got) != "text" {
		t.Errorf("the container sees %q, %v", got, err)
	}
}

func TestLayersThatAreLeftMountedAreTakenAway(t *testing.T) {
	l, folder := layers(t)
	point := filepath.Join(folder, "layer-1")
	must(t, os.Mkdir(point, 0o700))
	must(t, unix.Mount(l.Upper, point, "", unix.MS_BIND, ""))
	must(t, mount.TidyLayers(folder))
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
