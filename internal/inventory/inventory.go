// Package inventory knows which GPUs the host has now and keeps an openable
// node for each in a folder that host users can't enter, and a link to it by
// number. It grants nothing.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Driver tells about the host's cards.
type Driver interface {
	Cards(ctx context.Context) ([]gpu.Card, error)
	Readings(ctx context.Context) (map[string]gpu.Reading, error)
}

// Inventory caches what the driver tells. It is safe for concurrent use.
type Inventory struct {
	driver Driver
	folder string
	links  string
	log    *slog.Logger
	seen   atomic.Pointer[sight]

	refreshing sync.Mutex  // so that nobody's older look comes after a newer
	cards      line        // for the driver's cards
	telemetry  line        // for its readings
	stale      atomic.Bool // the cards were read anew since readings were

	mu       sync.Mutex
	readAt   time.Time
	readings map[string]gpu.Reading
}

// A sight is the host as the driver told it at one moment.
type sight struct {
	cards   []gpu.Card
	devices []gpu.Device
}

// New returns an inventory whose nodes lie in folder, and reads the driver
// once. A driver that doesn't answer is an error. links is the host's folder
// of devices by number, /dev/char; where it doesn't exist, nothing is linked.
func New(ctx context.Context, driver Driver, folder, links string, log *slog.Logger) (*Inventory, error) {
	i := &Inventory{driver: driver, folder: folder, links: links, log: log}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("folder of device nodes: %w", err)
	}
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
		return nil, fmt.Errorf("folder of device nodes: %w", err)
	}
	if err := letNodesOpen(folder); err != nil {
		return nil, fmt.Errorf("folder of device nodes: %w", err)
	}
	return i, i.Refresh(ctx)
}

// letNodesOpen gives the folder a file system of its own where no node opens in
// the one that it lies in, and so in no container that has it mounted: systemd and
// Debian's initramfs mount /run with nodev.
func letNodesOpen(folder string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return err
	}
	if fs.Flags&unix.ST_NODEV == 0 {
		return nil
	}
	return unix.Mount("ds01", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=700,size=16m")
}

// Devices returns what can be granted, by card, then instance. The slice is
// shared: don't change it.
func (i *Inventory) Devices() []gpu.Device { return i.seen.Load().devices }

// Cards returns the cards as they were when Devices was made of them. The
// slice is shared: don't change it.
func (i *Inventory) Cards() []gpu.Card { return i.seen.Load().cards }

// Refresh reads the cards anew and makes the nodes and links that are missing.
func (i *Inventory) Refresh(ctx context.Context) error {
	i.refreshing.Lock()
	defer i.refreshing.Unlock()
	cards, err := ask(ctx, &i.cards, i.driver.Cards)
	if err != nil {
		if ctx.Err() == nil {
			i.doubt(err)
		}
		return fmt.Errorf("read GPUs: %w", err)
	}
	devices := gpu.Devices(cards)
	for _, d := range devices {
		for _, n := range d.Nodes {
			if err := errors.Join(i.makeNode(n), i.link(n)); err != nil {
				return fmt.Errorf("device node %s: %w", n.Name, err)
			}
		}
	}
	i.seen.Store(&sight{cards, devices})
	i.stale.Store(true)
	return nil
}

// doubt keeps what is known, and has nothing of it granted: nobody knows how the
// cards are.
func (i *Inventory) doubt(err error) {
	known := i.seen.Load()
	if known == nil {
		return
	}
	cards := slices.Clone(known.cards)
	for j := range cards {
		if cards[j].Problem == "" {
			cards[j].Problem = "the GPU driver doesn't tell how it is: " + problem.OneLine(err)
			cards[j].Doubt = true
			cards[j].Mend = "See whether 'nvidia-smi' answers; reboot if it doesn't."
		}
	}
	i.seen.Store(&sight{cards, gpu.Devices(cards)})
}

// makeNode makes the node unless the right one is there already.
func (i *Inventory) makeNode(n gpu.Node) error {
	path := filepath.Join(i.folder, n.Name)
	want := unix.Mkdev(n.Major, n.Minor)
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == nil && st.Mode == unix.S_IFCHR|0o666 && st.Rdev == want {
		return nil
	}
	if err == nil {
		if err := os.Remove(path); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(want)); err != nil { //nolint:gosec // device numbers are small
		return err
	}
	return os.Chmod(path, 0o666) //nolint:gosec // containers open it as any user; the folder keeps host users out
}

// link makes the node known by its number, as udev does for devices that it
// knows, which NVIDIA's are not. runc 1.1.3 to 1.1.6 don't tell systemd of a
// device without such a name, and systemd then takes it from the container
// when it reads its units again (opencontainers/runc#3708).
func (i *Inventory) link(n gpu.Node) error {
	name := filepath.Join(i.links, fmt.Sprintf("%d:%d", n.Major, n.Minor))
	if _, err := os.Stat(name); err == nil {
		return nil // the driver's own, or from before
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) { // it leads nowhere
		return err
	}
	if err := os.Symlink(filepath.Join(i.folder, n.Name), name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// freshFor is how long readings are served without asking the driver again.
const freshFor = time.Second

// Readings returns what the devices do now, by UUID of card or instance; at
// most a second old.
func (i *Inventory) Readings(ctx context.Context, now time.Time) (map[string]gpu.Reading, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if stale := i.stale.Swap(false); i.readings != nil && !stale && now.Sub(i.readAt) < freshFor {
		return i.readings, nil
	}
	readings, err := ask(ctx, &i.telemetry, i.driver.Readings)
	if err != nil {
		return nil, fmt.Errorf("read GPU telemetry: %w", err)
	}
	i.readings, i.readAt = readings, now
	return readings, nil
}

// Run refreshes until ctx ends. A driver that stops answering leaves the last
// known devices in place, with that as their Problem: what is granted stays
// granted, and nothing else is.
func (i *Inventory) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			before := i.Devices()
			if err := i.Refresh(ctx); err != nil {
				i.log.ErrorContext(ctx, "gpu driver does not answer", "error", err)
			} else if after := i.Devices(); !slices.EqualFunc(before, after, same) {
				i.log.InfoContext(ctx, "gpu devices changed", "before", len(before), "after", len(after))
			}
		}
	}
}

func same(a, b gpu.Device) bool { return a.UUID == b.UUID && a.Problem == b.Problem }
