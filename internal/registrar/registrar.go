// Package registrar keeps who owns which volume, network and range of ports:
// in memory for those who look one up, written through to the store, and in
// step with the engine.
package registrar

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// Engine makes volumes and networks.
type Engine interface {
	Volumes(ctx context.Context) ([]string, error)
	HasVolume(ctx context.Context, name string) (bool, error)
	CreateVolume(ctx context.Context, name string, labels map[string]string) error
	Networks(ctx context.Context) ([]network.Observed, error)
	CreateNetwork(ctx context.Context, s network.Spec) (id string, err error)
}

// Store keeps records over restarts.
type Store interface {
	volumeStore
	networkStore
	slotStore
	Flush() error
}

type volumeStore interface {
	Volumes(ctx context.Context) ([]volume.Record, error)
	SaveVolume(ctx context.Context, v volume.Record) error
	MarkVolume(ctx context.Context, engineName string, used bool) error
	DeleteVolume(ctx context.Context, engineName string) error
}

type networkStore interface {
	Networks(ctx context.Context) ([]network.Record, error)
	SaveNetwork(ctx context.Context, n network.Record) error
	DeleteNetwork(ctx context.Context, engineName string) error
}

type slotStore interface {
	PortSlots(ctx context.Context) (map[int]int, error)
	SavePortSlot(ctx context.Context, uid, slot int) error
}

// Parts are what a registrar works with.
type Parts struct {
	Engine Engine
	Store  Store
	Lock   func(key string) (unlock func()) // serialises what is done to one volume or network
	Config func() config.Config
	Served func() bool                    // the engine makes networks
	Routes func() ([]netip.Prefix, error) // of the host: no network may cover them
	Log    *slog.Logger
	Now    func() time.Time
}

// Registrar holds every record. It is safe for concurrent use.
type Registrar struct {
	Parts

	mu       sync.Mutex
	volumes  map[string]volume.Record  // by name at the engine
	networks map[string]network.Record // by name at the engine
	slots    map[int]int               // uid → place of their range of ports
	gone     map[string]tombstone      // by volumeKey or networkKey
}

type tombstone struct {
	uid int
	at  time.Time
}

// New loads every record from the store.
func New(ctx context.Context, p Parts) (*Registrar, error) {
	r := &Registrar{
		Parts: p, volumes: map[string]volume.Record{}, networks: map[string]network.Record{}, gone: map[string]tombstone{},
	}
	volumes, err := p.Store.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		r.volumes[v.EngineName] = v
	}
	networks, err := p.Store.Networks(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		r.networks[n.EngineName] = n
	}
	r.slots, err = p.Store.PortSlots(ctx)
	return r, err
}

// Settle brings all records in step with the engine: what isn't there any more
// is forgotten, and a network whose making was cut short is found again. What
// the engine has and no record names stays nobody's, for administrators only.
func (r *Registrar) Settle(ctx context.Context) error {
	if err := r.settleVolumes(ctx); err != nil {
		return err
	}
	return r.settleNetworks(ctx)
}

// Records returns every record, in no order.
func (r *Registrar) Records() ([]network.Record, []volume.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.networks)), slices.Collect(maps.Values(r.volumes))
}

// mourning is how long the owner of what was removed is remembered, so that its
// last events still reach them.
const mourning = 10 * time.Minute

// bury remembers whose something was. The caller holds mu.
func (r *Registrar) bury(key string, uid int) {
	now := r.Now()
	maps.DeleteFunc(r.gone, func(_ string, t tombstone) bool { return now.Sub(t.at) > mourning })
	r.gone[key] = tombstone{uid, now}
}

func volumeKey(engineName string) string { return "volume " + engineName }

func networkKey(id string) string { return "network " + id }

// notStored is the error for a store that can't write.
func notStored(what string, err error) error {
	return &problem.Error{
		What: what, Why: problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "Nothing was made. Tell your administrators that ds01 can't write its database.",
	}
}
