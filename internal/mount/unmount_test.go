package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
)

func TestUnmountLeavesNothing(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	p.file(filepath.Join(p.home, "file"), p.own.UID, p.own.GID, 0o600, "text")
	folder := filepath.Join(p.dir, "mnt", "claim")
	first, second := p.request(p.home, as(0, 0)), p.request(filepath.Join(p.home, "file"), as(0, 0))
	second.Target = filepath.Join(folder, "1 x")
	for range 3 { // a start after a crash finds what the last one left
		p.mounted(first)
		p.mounted(second)
	}
	if got, err := mount.List(p.dir); err != nil || !slices.Equal(got, []string{first.Target, second.Target}) {
		t.Errorf("mounted: %q, %v", got, err)
	}
	for _, r := range []mount.Request{first, second, second} {
		must(t, mount.Unmount(r.Target))
	}
	if got, err := mount.List(p.dir); err != nil || len(got) > 0 {
		t.Errorf("still mounted: %q, %v", got, err)
	}
	if _, err := os.Lstat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(p.home, "file")); err != nil || string(got) != "text" {
		t.Errorf("the source has changed: %q, %v", got, err)
	}
}

func TestUnmountTakesMountsStackedByOthersAway(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	r := p.request(p.home, nil)
	p.mounted(r)
	must(t, unix.Mount("ds01t", r.Target, "tmpfs", 0, ""))
	must(t, mount.Unmount(r.Target))
	if got, err := mount.List(p.dir); err != nil || len(got) > 0 {
		t.Errorf("still mounted: %q, %v", got, err)
	}
}

func TestUnmountRemovesOnlyMountPoints(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	file := filepath.Join(p.dir, "file")
	p.file(file, 0, 0, 0o600, "text")
	p.folder(filepath.Join(p.dir, "folder", "in it"), 0, 0, 0o700)
	for _, target := range []string{file, filepath.Join(p.dir, "folder")} {
		if err := mount.Unmount(target); err == nil {
			t.Errorf("%s was removed", target)
		}
	}
}

func TestTheSourceMayChangeItsKindBetweenStarts(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	r := p.request(filepath.Join(p.home, "x"), nil)
	p.folder(r.Source, p.own.UID, p.own.GID, 0o755)
	p.mounted(r)
	must(t, os.Remove(r.Source))
	p.file(r.Source, p.own.UID, p.own.GID, 0o600, "text")
	p.mounted(r)
	if got, err := os.ReadFile(r.Target); err != nil || string(got) != "text" {
		t.Errorf("mounted: %q, %v", got, err)
	}
}

func TestListIsDeepestFirst(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	var want []string
	for _, name := range []string{"a", "a/b c", "a/b c/d"} {
		dir := filepath.Join(p.dir, name)
		p.folder(dir, 0, 0, 0o755)
		must(t, unix.Mount("ds01t", dir, "tmpfs", 0, ""))
		want = slices.Insert(want, 0, dir)
	}
	if got, err := mount.List(p.dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := mount.List(filepath.Join(p.dir, "a/b")); err != nil || len(got) > 0 {
		t.Errorf("below a folder that isn't there: %q, %v", got, err)
	}
}

// Each mount takes on a person's rights and bears a child: nothing of either
// may stay, and no other thread may ever have them.
func TestNothingLeaks(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	p.mounted(p.request(p.home, as(0, 0))) // what is made once is made now
	before := descriptors(t)
	var wg sync.WaitGroup
	for i := range 4 {
		r := p.request(p.home, as(0, 0))
		r.Target = filepath.Join(p.dir, "mnt", fmt.Sprint(i), "0")
		wg.Go(func() {
			for range 25 {
				if err := mount.Mount(r); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for j := range 200 { // what others do meanwhile, they do as root
				name := filepath.Join(p.dir, fmt.Sprintf("root-%d-%d", i, j))
				if err := os.WriteFile(name, nil, 0o600); err != nil {
					t.Error(err)
				} else if got := onDisk(t, name); got != "0:0 0600" {
					t.Errorf("a file made meanwhile is %s", got)
				}
			}
		})
	}
	wg.Wait()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
	left := leaks(t) // a thread that has answered ends a moment later
	for deadline := time.Now().Add(10 * time.Second); left != "" && time.Now().Before(deadline); left = leaks(t) {
		time.Sleep(10 * time.Millisecond)
	}
	if left != "" {
		t.Error(left)
	}
}

// leaks says which thread has a child, or rights that aren't root's.
func leaks(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*")
	must(t, err)
	for _, task := range tasks {
		if children, err := os.ReadFile(filepath.Join(task, "children")); err == nil && len(children) > 0 {
			return fmt.Sprintf("children left: %s", children)
		}
		status, err := os.ReadFile(filepath.Join(task, "status"))
		if err != nil {
			continue // the thread has ended
		}
		if !strings.Contains(string(status), "\nUid:\t0\t0\t0\t0\n") {
			return fmt.Sprintf("a thread stays with a person's rights:\n%s", status)
		}
	}
	return ""
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func BenchmarkMount(b *testing.B) {
	for name, m := range map[string]*mount.Mapping{"mapped": as(0, 0), "mapped and kept": as(0, 0), "plain": nil} {
		b.Run(name, func(b *testing.B) {
			p := newPlace(b, "", mount.Owner{UID: 70000, GID: 70000})
			r := p.request(p.home, m)
			for b.Loop() {
				if err := mount.Mount(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestUnmountFinishesWhatAKilledOneBegan(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "claim")
	must(t, os.Mkdir(folder, 0o700))
	must(t, mount.Unmount(filepath.Join(folder, "0")))
	if _, err := os.Lstat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
