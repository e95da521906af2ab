package inventory_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/inventory"
	"ds01.dev/ds01/internal/problem"
)

// A driver tells what the test says.
type driver struct {
	mu    sync.Mutex
	cards []gpu.Card
	err   error
	asked int
}

func (d *driver) Cards(context.Context) ([]gpu.Card, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cards, d.err
}

// say changes what the driver tells.
func (d *driver) say(cards []gpu.Card, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cards, d.err = cards, err
}

func (d *driver) Readings(context.Context) (map[string]gpu.Reading, error) {
	d.asked++
	return map[string]gpu.Reading{"GPU-0": {UtilizationPercent: d.asked}}, d.err
}

func cards() []gpu.Card {
	return []gpu.Card{{UUID: "GPU-0", Nodes: []gpu.Node{
		{Name: "nvidia0", Major: 120, Minor: 7}, {Name: "nvidia-caps/nvidia-cap1", Major: 120, Minor: 300},
	}}}
}

func open(t *testing.T, d *driver, folder string) (*inventory.Inventory, error) {
	t.Helper()
	return inventory.New(t.Context(), d, folder, "/nonexistent/char", slog.New(slog.DiscardHandler))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("device nodes need root")
	}
	t.Skip("device nodes need root")
}

func wantNode(t *testing.T, path string, major, minor uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(major, minor) {
		t.Errorf("%s: mode %o, device %d:%d", path, st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
}

func TestNodesOpenWhereTheFileSystemAroundThemForbidsIt(t *testing.T) {
	needRoot(t)
	run := t.TempDir()
	if err := unix.Mount("none", run, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, ""); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(run, "dev")
	t.Cleanup(func() {
		if err := unix.Unmount(run, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := &driver{cards: []gpu.Card{{UUID: "GPU-0", Nodes: []gpu.Node{{Name: "nvidia0", Major: 1, Minor: 3}}}}}
	for range 2 { // a daemon that starts again finds it as it was
		if _, err := open(t, d, folder); err != nil {
			t.Fatal(err)
		}
		null, err := os.Open(filepath.Join(folder, "nvidia0"))
		if err != nil {
			t.Fatal(err)
		}
		null.Close()
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Count(string(text), folder) != 1 {
		t.Errorf("mounted %d times, %v", strings.Count(string(text), folder), err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
}

func TestNodesAreMadeWhereHostUsersCannotReachThem(t *testing.T) {
	needRoot(t)
	old := unix.Umask(0o077) // must not show in the nodes
	defer unix.Umask(old)
	folder := filepath.Join(t.TempDir(), "run", "dev")
	i, err := open(t, &driver{cards: cards()}, folder)
	if err != nil {
		t.Fatal(err)
	}
	wantNode(t, filepath.Join(folder, "nvidia0"), 120, 7)
	wantNode(t, filepath.Join(folder, "nvidia-caps", "nvidia-cap1"), 120, 300)
	for _, dir := range []string{folder, filepath.Join(folder, "nvidia-caps")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v", dir, info.Mode(), err)
		}
	}
	if devices := i.Devices(); len(devices) != 1 || devices[0].UUID != "GPU-0" {
		t.Errorf("devices are %+v", devices)
	}
}

func TestAFolderThatIsOpenIsClosed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "dev")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, &driver{}, folder); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
}

func TestAWrongNodeIsReplaced(t *testing.T) {
	needRoot(t)
	old := unix.Umask(0) // so that only one thing is wrong with each
	defer unix.Umask(old)
	for name, put := range map[string]func(path string) error{
		"another device": func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(120, 8))) },
		"a block device": func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o666, int(unix.Mkdev(120, 7))) },
		"closed":         func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(120, 7))) },
		"a file":         func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a link":         func(p string) error { return os.Symlink("/dev/null", p) },
		"an empty dir":   func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := put(filepath.Join(folder, "nvidia0")); err != nil {
				t.Fatal(err)
			}
			if _, err := open(t, &driver{cards: cards()}, folder); err != nil {
				t.Fatal(err)
			}
			wantNode(t, filepath.Join(folder, "nvidia0"), 120, 7)
		})
	}
}

func TestEachNodeIsKnownByItsNumber(t *testing.T) {
	needRoot(t)
	folder, links := t.TempDir(), t.TempDir()
	const known, lost = "120:7", "120:300"
	for name, target := range map[string]string{known: "/dev/null", lost: "/nonexistent"} {
		if err := os.Symlink(target, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	d := &driver{cards: cards()}
	d.cards[0].Nodes = append(d.cards[0].Nodes, gpu.Node{Name: "nvidiactl", Major: 120, Minor: 255})
	i, err := inventory.New(t.Context(), d, folder, links, slog.New(slog.DiscardHandler))
	for range 2 { // a second look finds all as it should be
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			known: "/dev/null", lost: filepath.Join(folder, "nvidia-caps/nvidia-cap1"), "120:255": filepath.Join(folder, "nvidiactl"),
		} {
			if got, err := os.Readlink(filepath.Join(links, name)); got != want {
				t.Errorf("%s leads to %s (%v), want %s", name, got, err, want)
			}
		}
		err = i.Refresh(t.Context())
	}
}

func TestADriverThatDoesNotAnswerIsAnErrorAtTheStart(t *testing.T) {
	broken := errors.New("no NVML")
	if _, err := open(t, &driver{err: broken}, t.TempDir()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestADriverThatStopsAnsweringLeavesWhatWasKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := &driver{cards: []gpu.Card{{UUID: "GPU-0"}}}
		i, err := open(t, d, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- i.Run(ctx, time.Minute) }()
		d.say(nil, errors.New("lost"))
		time.Sleep(3*time.Minute + time.Second) // between two ticks
		if devices := i.Devices(); len(devices) != 1 || !strings.Contains(devices[0].Problem, "lost") || devices[0].Mend == "" {
			t.Errorf("forgotten, or still granted: %+v", devices)
		}
		d.say([]gpu.Card{{UUID: "GPU-0", Problem: "sick"}, {UUID: "GPU-1", Index: 1}}, nil)
		time.Sleep(time.Minute)
		if devices := i.Devices(); len(devices) != 2 || devices[0].Problem != "sick" {
			t.Errorf("devices are %+v", devices)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

func TestReadingsAreAskedForOnceASecond(t *testing.T) {
	d := &driver{}
	i, err := open(t, d, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	for offset, want := range []int{1, 1, 2} { // after 0, 600 and 1200 ms
		got, err := i.Readings(t.Context(), now.Add(time.Duration(offset)*600*time.Millisecond))
		if err != nil || got["GPU-0"].UtilizationPercent != want {
			t.Errorf("after %d ms: %+v, %v", offset*600, got, err)
		}
	}
	d.err = errors.New("lost")
	if _, err := i.Readings(t.Context(), now.Add(time.Hour)); !errors.Is(err, d.err) {
		t.Errorf("got %v", err)
	}
}

// stuck is a driver that answers only once it is let go.
type stuck struct {
	driver
	release chan struct{}
}

func (s *stuck) Cards(ctx context.Context) ([]gpu.Card, error) {
	<-s.release
	return s.driver.Cards(ctx)
}

func (s *stuck) Readings(ctx context.Context) (map[string]gpu.Reading, error) {
	<-s.release
	return s.driver.Readings(ctx)
}

func TestADriverThatHangsKeepsNobodyWaitingForLong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		close(free)
		d := &stuck{driver: driver{cards: []gpu.Card{{UUID: "GPU-0"}}}, release: free}
		i, err := inventory.New(t.Context(), d, t.TempDir(), "/nonexistent/char", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		d.release = make(chan struct{})
		for n, most := range []time.Duration{10 * time.Second, 0} {
			began := time.Now()
			_, err := i.Readings(t.Context(), time.Now())
			if took := time.Since(began); !errors.Is(err, problem.ErrUnavailable) || took != most {
				t.Errorf("readings, %d: %v after %s", n, err, took)
			}
			if err := i.Refresh(t.Context()); !errors.Is(err, problem.ErrUnavailable) {
				t.Errorf("cards, %d: %v", n, err)
			}
		}
		if devices := i.Devices(); len(devices) != 1 || devices[0].Problem == "" {
			t.Errorf("still granted: %+v", devices)
		}
		close(d.release)
		bubble.Wait()
		if err := i.Refresh(t.Context()); err != nil || i.Devices()[0].Problem != "" {
			t.Errorf("it answers again: %v, %+v", err, i.Devices())
		}
	})
}
