// Package sim simulates an NVIDIA driver, so that a machine without a GPU runs
// the whole system. It is a state machine that refuses what the driver
// refuses: placements, overlap, capacity, MIG off, in use. Models, memory,
// profiles and placements are those of go-nvml's mock hardware.
//
// New builds it from the configuration, with the same UUIDs each time. Where it
// is given a file, instances, MIG modes, what Set drives and what a card is ill
// with outlive the program there, as they do on a real card; processes are gone
// after a restart.
//
// Device nodes have the major 120, which is reserved for local use and has no
// driver behind it: opening one answers "no such device" to whom it was
// granted and "not permitted" to others. Each thing that can be granted has
// exactly one node of its own: card I is "nvidiaI", minor I×16; the instance
// that starts at memory slice S of it is "nvidiaI-migS", minor I×16+1+S.
package sim

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

const (
	major         = 120
	minorsPerCard = 16
	maxCards      = 1 << 16 // minors are 20 bits wide
)

// A Config says which cards there are.
type Config struct {
	GPUs  []string         // the model of each card, by index
	MIG   map[int][]string // card index → MIG profiles; a card that is named has MIG on
	Takes time.Duration    // each change of a card takes so long, half of it before it is done and half after
	File  string           // keeps what was changed; "": all is as above with each New
}

// A Driver is the simulated driver. Its methods may be called concurrently.
type Driver struct {
	file   string
	config string
	takes  time.Duration

	mu       sync.Mutex
	cards    []*card
	watchers map[int]func(gpu.Fault)
	watches  int // how many there have been
}

type card struct {
	load       // of the whole card; power and temperature also with MIG on
	model      model
	index      int
	uuid       string
	mig        bool
	migPending bool // the mode after the next reset
	lost       bool
	unreadable bool
	health     gpu.Health
	instances  []*instance // by MIG device index
}

type instance struct {
	load
	gpu.Instance
}

// New returns a driver with the configured cards. An unknown model, a layout
// that doesn't fit its card and a layout for a card that isn't there are
// ErrInvalid, with what is possible.
func New(cfg Config) (*Driver, error) {
	known := models()
	d := &Driver{file: cfg.File, takes: cfg.Takes, config: fmt.Sprint(cfg.GPUs, cfg.MIG), watchers: map[int]func(gpu.Fault){}}
	if len(cfg.GPUs) > maxCards {
		return nil, invalid(fmt.Sprintf("%d simulated cards", len(cfg.GPUs)), fmt.Sprintf("there is room for %d", maxCards), "")
	}
	for i, name := range cfg.GPUs {
		m, ok := known[name]
		if !ok {
			return nil, invalid(fmt.Sprintf("simulated card %d", i), "there is no model "+strconv.Quote(name), "The models are "+modelNames(known)+".")
		}
		d.cards = append(d.cards, &card{model: m, index: i, uuid: uuid("GPU-", name, strconv.Itoa(i))})
	}
	if loaded, err := d.load(); loaded || err != nil {
		return d, err
	}
	for _, i := range slices.Sorted(maps.Keys(cfg.MIG)) {
		if i < 0 || i >= len(d.cards) {
			return nil, invalid(fmt.Sprintf("simulated MIG layout of card %d", i), fmt.Sprintf("there are %d cards", len(d.cards)), "The first card is 0.")
		}
		if err := d.cards[i].layOut(cfg.MIG[i]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// layOut turns MIG on and creates the instances, in the order of profiles.
func (c *card) layOut(profiles []string) error {
	places, err := gpu.PlaceLayout(c.model.profiles, profiles)
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return &problem.Error{What: fmt.Sprintf("simulated card %d, %s: %s", c.index, c.model.name, p.What), Why: p.Why, Next: p.Next}
	}
	if err != nil {
		return fmt.Errorf("simulated card %d, %s: %w", c.index, c.model.name, err)
	}
	c.mig, c.migPending = true, true
	for i, at := range places {
		if _, err := c.create(profiles[i], at.Start); err != nil {
			return err
		}
	}
	return nil
}

// half lets half of the time pass that a change takes.
func (d *Driver) half() { time.Sleep(d.takes / 2) }

// Cards returns all cards, by index.
func (d *Driver) Cards(ctx context.Context) ([]gpu.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list simulated cards: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cards := make([]gpu.Card, len(d.cards))
	for i, c := range d.cards {
		cards[i] = gpu.Card{
			UUID: c.uuid, Index: c.index, Model: c.model.name, MemoryBytes: c.model.memoryBytes,
			MIG: c.mig, MIGWaits: c.mig != c.migPending, MIGResets: c.model.resets, Profiles: c.model.table(),
			NUMANode: numaNode(c.index, len(d.cards)), Peers: d.peers(c),
			Nodes: []gpu.Node{node(fmt.Sprintf("nvidia%d", c.index), c.index*minorsPerCard)},
		}
		cards[i].Health = c.health
		cards[i].Problem, cards[i].Mend = c.health.Judge(c.index)
		if c.lost {
			cards[i].Problem, cards[i].Mend = gpu.Lost(c.index, "GPU is lost")
		}
		for _, in := range c.instances {
			cp := in.Instance
			cp.Nodes = slices.Clone(cp.Nodes)
			cards[i].Instances = append(cards[i].Instances, cp)
		}
	}
	return cards, nil
}

// numaNode puts the first half of the cards next to the first processor and
// the others next to the second, as in a machine with two.
func numaNode(index, cards int) int { return 2 * index / cards }

// peers returns the cards of the same model that a switch connects c with. The
// caller holds the lock.
func (d *Driver) peers(c *card) []string {
	if !c.model.nvlink {
		return nil
	}
	var peers []string
	for _, other := range d.cards {
		if other != c && other.model.name == c.model.name {
			peers = append(peers, other.uuid)
		}
	}
	return peers
}

// DriverVersion returns "simulated".
func (*Driver) DriverVersion(context.Context) (string, error) { return "simulated", nil }

// Close does nothing and returns nil.
func (*Driver) Close() error { return nil }

// Lose lets a card fall off the bus: it has a Problem and no readings until
// Heal.
func (d *Driver) Lose(cardUUID string) error { return d.setLost(cardUUID, true) }

// Heal undoes Lose.
func (d *Driver) Heal(cardUUID string) error { return d.setLost(cardUUID, false) }

func (d *Driver) setLost(cardUUID string, lost bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.card(cardUUID)
	if err != nil {
		return err
	}
	c.lost = lost
	return d.save()
}

// Garble has each call for a card's readings fail, and those for its instances',
// or ends that. As with NVML, nothing else of it is wrong then.
func (d *Driver) Garble(cardUUID string, unreadable bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.card(cardUUID)
	if err != nil {
		return err
	}
	c.unreadable = unreadable
	return d.save()
}

// card finds a card. The caller holds the lock.
func (d *Driver) card(cardUUID string) (*card, error) {
	for _, c := range d.cards {
		if c.uuid == cardUUID {
			return c, nil
		}
	}
	return nil, unknown(cardUUID)
}

// device finds what can be read and driven under a UUID: a card (in is nil) or
// an instance on it. The caller holds the lock.
func (d *Driver) device(uuid string) (c *card, in *instance, err error) {
	for _, c := range d.cards {
		if c.uuid == uuid {
			return c, nil, nil
		}
		for _, in := range c.instances {
			if in.UUID == uuid {
				return c, in, nil
			}
		}
	}
	return nil, nil, unknown(uuid)
}

func node(name string, minor int) gpu.Node {
	return gpu.Node{Name: name, Major: major, Minor: uint32(minor)} //nolint:gosec // New bounds the cards
}

// uuid makes the same UUID of the same parts each time.
func uuid(prefix string, parts ...string) string {
	h := sha256.Sum256(fmt.Append(nil, parts))
	return fmt.Sprintf("%s%x-%x-%x-%x-%x", prefix, h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func invalid(what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(problem.ErrInvalid, why), Next: next}
}

func conflict(what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(problem.ErrConflict, why), Next: next}
}

func unknown(uuid string) error {
	return &problem.Error{
		What: "device " + uuid, Why: problem.Because(problem.ErrNotFound, "no card or instance has this UUID"),
		Next: "Run 'ds01 gpu list' to see the devices.",
	}
}
