package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/store"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

// grants are what containers are given when they start.
type grants map[string][]string

func (g grants) Give(id string, devices []gpu.Device) error {
	g[id] = []string{}
	for _, d := range devices {
		g[id] = append(g[id], d.UUID)
	}
	return nil
}

func (g grants) Take(id string) error { delete(g, id); return nil }

func (g grants) Given(id string) ([]string, error) { return g[id], nil }

// A scene is a launcher with everything it works with.
type scene struct {
	*launcher.Launcher
	engine  *dockertest.Engine
	mounter *mounter
	cgroups *cgroups
	doors   *doors
	disk    *disk
	now     time.Time
	who     accounts
	bound   limits.Limits

	devices      []gpu.Device // nil: one whole card
	librariesErr error        // why libraries don't come
	atStart      bool         // the engine has the runtime that gives devices at each start
	grants       grants
	live         *live

	registrar *registrar.Registrar
	config    config.Config
	served    bool // the engine makes networks
}

// A disk is a store whose disk may refuse to take what was written.
type disk struct {
	*store.Store
	err error
}

func (d *disk) Flush() error { return d.err }

// A mounter keeps what is mounted, and refuses what it is told to.
type mounter struct {
	mu      sync.Mutex
	mounted []string
	covered []string
	volumes []string                     // covered
	inside  map[string]map[string]string // of what was covered last, by path
	last    container.Mount
	refuse  map[string]error // by method
	plain   bool             // ids can't be mapped
}

func (m *mounter) mappable(account.Account, admission.MountRoot, container.Mount) (bool, error) {
	return !m.plain, m.refuse["Mappable"]
}

func (m *mounter) Prepare(account.Account, admission.MountRoot, container.Mount) error {
	return m.refuse["Prepare"]
}

func (m *mounter) Mount(_ account.Account, _ admission.MountRoot, c container.Mount) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse["Mount"]; err != nil {
		return err
	}
	m.mounted, m.last = append(m.mounted, c.HostPath), c
	return nil
}

func (m *mounter) Cover(_ account.Account, _ admission.MountRoot, c container.Mount, inside map[string]string) error {
	if err := m.Unmount(c.HostPath); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.covered = append(m.covered, c.HostPath)
	m.keep(c.HostPath, inside)
	return m.refuse["Cover"]
}

func (m *mounter) keep(path string, inside map[string]string) {
	if m.inside == nil {
		m.inside = map[string]map[string]string{}
	}
	m.inside[path] = inside
}

func (m *mounter) CoverVolume(path string, inside map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.volumes = append(m.volumes, path)
	m.keep(path, inside)
	return m.refuse["CoverVolume"]
}

func (m *mounter) UncoverVolume(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.volumes = slices.DeleteFunc(m.volumes, func(p string) bool { return p == path })
	return nil
}

func (m *mounter) Unmount(hostPath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.covered = slices.DeleteFunc(m.covered, func(p string) bool { return p == hostPath })
	m.mounted = slices.DeleteFunc(m.mounted, func(p string) bool { return p == hostPath })
	return nil
}

// doors keeps for which containers somebody listens.
type doors struct {
	open map[string]container.Record // by claim
	at   []string                    // where the sockets are, of all that ever were
}

func (d *doors) Open(_ context.Context, r container.Record, m container.Mount) error {
	d.open[r.ID] = r
	d.at = append(d.at, m.HostPath)
	return nil
}

func (d *doors) Close(_ context.Context, claim string) { delete(d.open, claim) }

// cgroups keeps which containers stand still.
type cgroups struct {
	err    error
	frozen []string
}

func (c *cgroups) Ensure(_ context.Context, uid int, _ limits.Limits) (string, error) {
	return fmt.Sprintf("/ds01/u%d", uid), c.err
}

func (*cgroups) Parent(uid int) string { return fmt.Sprintf("/ds01/u%d", uid) }

func (*cgroups) End(context.Context, int, string) (int, error) { return 0, nil }

func (c *cgroups) Freeze(_ context.Context, _ int, id string) error {
	c.frozen = append(c.frozen, id)
	return c.err
}

func (c *cgroups) Thaw(_ int, id string) error {
	c.frozen = slices.DeleteFunc(c.frozen, func(f string) bool { return f == id })
	return nil
}

type accounts map[int]account.Account

func (a accounts) Lookup(uid int) (account.Account, error) {
	if who, ok := a[uid]; ok {
		return who, nil
	}
	return account.Account{}, errors.New("no such user")
}

func alice() account.Account {
	return account.Account{UID: 1001, GID: 1001, Name: "alice", Home: "/home/alice", Groups: []account.Group{{GID: 1001, Name: "alice"}, {GID: 2000, Name: "vision"}}}
}

func bound() limits.Limits {
	return limits.Limits{
		MaxDevices: quantity.To(1), MaxGPUsPerContainer: quantity.To(1), AllowFullGPU: true, MaxGPUShare: quantity.None[quantity.GPUShare](),
		MaxContainers: quantity.To(3), GPUHoldAfterStop: quantity.To(time.Hour), Memory: quantity.To(quantity.ByteSize(1 << 30)),
		MemorySwap: quantity.To(quantity.ByteSize(1 << 30)), PidsLimit: quantity.To(int64(100)), StopTimeout: quantity.To(10 * time.Second),
		MaxCPUs: quantity.None[quantity.CPUs](), ShmSize: quantity.None[quantity.ByteSize](), UlimitNofile: quantity.None[int64](),
		Aggregate: limits.Aggregate{CPUs: quantity.None[quantity.CPUs]()}, Mounts: []limits.MountRoot{{Path: limits.Home}},
	}
}

func newScene(t *testing.T, isolation admission.Isolation) *scene {
	t.Helper()
	s := &scene{grants: grants{}, live: &live{may: map[string]bool{}}, mounter: &mounter{refuse: map[string]error{}}, cgroups: &cgroups{}, doors: &doors{open: map[string]container.Record{}}, now: noon, who: accounts{1001: alice()}, bound: bound(), config: config.Default()}
	clock := func() time.Time { return s.now }
	s.engine = dockertest.New(clock)
	records, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "ds01.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { records.Close() })
	devices := func() []gpu.Device {
		if s.devices != nil {
			return s.devices
		}
		return []gpu.Device{{UUID: "GPU-0", Slot: "0", Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU, Nodes: []gpu.Node{{Name: "nvidia0", Major: 120}}}}
	}
	s.disk = &disk{Store: records}
	ledger, err := allocator.New(t.Context(), s.disk, devices, clock)
	if err != nil {
		t.Fatal(err)
	}
	s.registrar, err = registrar.New(t.Context(), registrar.Parts{
		Engine: s.engine, Store: records, Lock: ledger.Lock, Config: func() config.Config { return s.config }, Served: func() bool { return s.served },
		Routes: func() ([]netip.Prefix, error) { return nil, nil }, Log: slog.New(slog.DiscardHandler), Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	images, err := curator.New(t.Context(), records, s.engine, ledger, clock)
	if err != nil {
		t.Fatal(err)
	}
	s.Launcher = launcher.New(launcher.Parts{
		Engine: s.engine, Images: images, Ledger: ledger, Registrar: s.registrar, Mounter: s.mounter, Cgroups: s.cgroups, Accounts: s.who,
		Doors: s.doors, Gateway: "/srv/docker.sock",
		Limits: func(account.Account) limits.Limits { return s.bound }, Roots: admission.MountRoots, Mappable: s.mounter.mappable, Devices: devices,
		Isolation: func() admission.Isolation { return isolation }, Libraries: func() (string, error) { return admission.LibrariesNone, s.librariesErr },
		AtStart: func() bool { return s.atStart }, Grants: s.grants, Live: s.live,
		Log: slog.New(slog.DiscardHandler), Now: clock, MountFolder: "/run/ds01/mnt", NodeFolder: "/run/ds01/dev",
	})
	return s
}

// request asks for a container with a GPU and a mount.
func request() launcher.Request {
	return launcher.Request{
		Account: alice(), Roles: account.Roles{Docker: true, GPU: true}, Name: "web", Interface: label.Docker,
		Body: admission.Create{Image: "busybox", HostConfig: admission.HostConfig{
			Binds:          []string{"/home/alice/work:/workspace"},
			DeviceRequests: []admission.DeviceRequest{{Count: 1, Capabilities: [][]string{{"gpu"}}}},
		}},
	}
}

func (s *scene) create(t *testing.T, r launcher.Request) container.Record {
	t.Helper()
	record, _, err := s.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func (s *scene) record(t *testing.T, claim string) container.Record {
	t.Helper()
	r, ok := s.Ledger.Record(claim)
	if !ok {
		t.Fatal("no such claim")
	}
	return r
}

// wantNothing fails if a claim, a container or a mount is left.
func (s *scene) wantNothing(t *testing.T) {
	t.Helper()
	list, err := s.engine.List(t.Context())
	if err != nil || len(list) > 0 || len(s.Ledger.Records()) > 0 || len(s.mounter.mounted) > 0 {
		t.Errorf("left: %v %v %v, %v", list, s.Ledger.Records(), s.mounter.mounted, err)
	}
}
