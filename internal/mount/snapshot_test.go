package mount_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// upper returns a layer with all that an upper one may hold.
func upper(t *testing.T) container.Layer {
	t.Helper()
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "diff")
	for _, path := range []string{"a/b/c", "opaque"} {
		must(t, os.MkdirAll(filepath.Join(dir, path), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "a/file"), []byte("text"), 0o640))
	must(t, os.Link(filepath.Join(dir, "a/file"), filepath.Join(dir, "a/b/hard")))
	must(t, os.Symlink("/etc/shadow", filepath.Join(dir, "a/link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "gone"), unix.S_IFCHR, 0))
	must(t, unix.Setxattr(filepath.Join(dir, "opaque"), "trusted.overlay.opaque", []byte("y"), 0))
	must(t, os.Chown(filepath.Join(dir, "a/b"), 70001, 70002))
	must(t, os.Chmod(filepath.Join(dir, "a/b"), 0o3750))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "a"), []unix.Timespec{{Sec: 5}, {Sec: 7}}, 0))
	for name, mode := range map[string]os.FileMode{"work": 0o700, "merged": 0o755} {
		must(t, os.Mkdir(filepath.Join(filepath.Dir(dir), name), mode))
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "lower"), []byte("l/A"), 0o644))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "work/old"), nil, 0o644))
	return container.Layer{Upper: dir, Work: filepath.Join(filepath.Dir(dir), "work"), Merged: filepath.Join(filepath.Dir(dir), "merged")}
}

// found returns what can be seen of a tree.
func found(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "cd \"$1\" && find . -printf '%p %y %m %U %G %T@ %l\n' | sort && getfattr -R -P -h -m - -d . 2>/dev/null; cat a/file a/b/hard", "sh", dir).Output()
	must(t, err)
	return string(out)
}

func TestASnapshotIsLikeTheLayer(t *testing.T) {
	l := upper(t)
	before := found(t, l.Upper)
	original, err := os.Open(l.Upper)
	must(t, err)
	defer original.Close()
	undo, err := mount.Snapshot(l)
	must(t, err)
	if now := found(t, l.Upper); now != before {
		t.Errorf("it holds\n%s\nand not\n%s", now, before)
	}
	beside, err := exec.Command("sh", "-c", "cd $1 && find . -path ./diff -prune -o -printf '%p %m ' && cat lower", "sh", filepath.Dir(l.Upper)).Output()
	for _, want := range []string{"./work 700", "./merged 700", "l/A"} {
		if err != nil || !strings.Contains(string(beside), want) || strings.Contains(string(beside), "old") {
			t.Errorf("beside it is %s, %v", beside, err)
		}
	}
	must(t, unix.Mount("overlay", l.Merged, "overlay", 0, "lowerdir="+t.TempDir()+",upperdir="+l.Upper+",workdir="+l.Work)) // as the engine does
	must(t, unix.Unmount(l.Merged, 0))
	must(t, unix.Renameat2(int(original.Fd()), "a/file", int(original.Fd()), "a/link", unix.RENAME_EXCHANGE))
	must(t, unix.Renameat2(int(original.Fd()), "a", int(original.Fd()), "opaque", unix.RENAME_EXCHANGE))
	if now := found(t, l.Upper); now != before {
		t.Errorf("names that changed since show up:\n%s", now)
	}
	must(t, undo())
	if info, err := os.Lstat(filepath.Join(l.Upper, "opaque/file")); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("afterwards it isn't the layer: %v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(l.Upper)); err != nil || len(left) != 4 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestASnapshotIsAlsoWhereTheLayersAreMounted(t *testing.T) {
	l := upper(t)
	all := filepath.Dir(filepath.Dir(l.Upper)) // hosts share what is mounted, with systemd
	must(t, unix.Mount(all, all, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(all, unix.MNT_DETACH) })
	must(t, unix.Mount("", all, "", unix.MS_SHARED, ""))
	l.Lower = []string{t.TempDir()}
	must(t, os.WriteFile(filepath.Join(l.Lower[0], "image"), []byte("text"), 0o644))
	must(t, unix.Mount("overlay", l.Merged, "overlay", 0, "index=off,lowerdir="+l.Lower[0]+",upperdir="+l.Upper+",workdir="+l.Work))
	t.Cleanup(func() { unix.Unmount(l.Merged, unix.MNT_DETACH) })
	container, err := os.OpenRoot(l.Merged)
	must(t, err)
	defer container.Close()
	undo, err := mount.Snapshot(l)
	must(t, err)
	must(t, container.WriteFile("later", nil, 0o644))
	for name, want := range map[string]string{"image": "text", "a/b/hard": "text"} {
		if got, err := os.ReadFile(filepath.Join(l.Merged, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(l.Merged, "later")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what came later is there: %v", err)
	}
	must(t, undo())
	if left, err := os.ReadDir(filepath.Dir(l.Upper)); err != nil || len(left) != 4 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := os.Lstat(filepath.Join(l.Merged, "later")); err != nil {
		t.Errorf("afterwards the container's own files are not there: %v", err)
	}
}

// mayDie is the variable that makes this program one that is killed while it has a
// snapshot of a layer.
const mayDie = "DS01_TEST_LAYER"

func snapshotAndDie(told string) error {
	var l container.Layer
	err := json.Unmarshal([]byte(told), &l)
	if err == nil {
		_, err = mount.Snapshot(l)
	}
	if err == nil {
		err = unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return err
}

// leave has a process take a snapshot and be killed.
func leave(t *testing.T, l container.Layer) {
	t.Helper()
	told, err := json.Marshal(l)
	must(t, err)
	killed := exec.Command(os.Args[0])
	killed.Env = append(os.Environ(), mayDie+"="+string(told))
	if out, err := killed.CombinedOutput(); err == nil || killed.ProcessState.ExitCode() != -1 {
		t.Fatalf("it ended by itself: %v\n%s", err, out)
	}
}

func TestSnapshotsThatAreLeftAreEnded(t *testing.T) {
	l := upper(t)
	before := found(t, l.Upper)
	leave(t, l)
	if left, err := os.ReadDir(filepath.Dir(l.Upper)); err != nil || len(left) != 4 {
		t.Errorf("in its place is %v, %v", left, err)
	}
	other := upper(t)
	undo, err := mount.Snapshot(other)
	must(t, err)
	must(t, mount.TidySnapshots())
	if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !strings.Contains(string(table), filepath.Dir(other.Upper)) {
		t.Errorf("somebody else's has ended too, %v", err)
	}
	must(t, undo())
	left, err := os.ReadDir(filepath.Dir(l.Upper))
	if table, terr := os.ReadFile("/proc/self/mountinfo"); err != nil || terr != nil || len(left) != 4 || strings.Contains(string(table), filepath.Dir(l.Upper)) {
		t.Errorf("%v is left, %v", left, errors.Join(err, terr))
	}
	if now := found(t, l.Upper); now != before {
		t.Errorf("it holds\n%s\nand not\n%s", now, before)
	}
}

// It is listed, and not there: so is one that somebody ends between the two looks.
func TestASnapshotThatIsNoLongerThereHindersNothing(t *testing.T) {
	l := upper(t)
	leave(t, l)
	layers := filepath.Dir(l.Upper)
	must(t, unix.Mount("tmpfs", filepath.Dir(layers), "tmpfs", 0, ""))
	err := os.Mkdir(layers, 0o700)
	if err == nil {
		err = mount.TidySnapshots()
	}
	must(t, errors.Join(err, unix.Unmount(filepath.Dir(layers), unix.MNT_DETACH), mount.TidySnapshots()))
}

func TestALayerTooDeepForASnapshotIsRefused(t *testing.T) {
	l := upper(t)
	at, err := unix.Open(l.Upper, unix.O_PATH, 0)
	must(t, err)
	for range 1005 {
		must(t, unix.Mkdirat(at, "d", 0o755))
		next, err := unix.Openat(at, "d", unix.O_PATH, 0)
		must(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	if _, err := mount.Snapshot(l); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(l.Upper)); err != nil || len(left) != 4 {
		t.Errorf("%v is left, %v", left, err)
	}
}
