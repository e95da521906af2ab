// Package daemon builds the parts of ds01 and runs them: the only place that
// knows both those who act and those who speak to outside systems.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/api"
	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/coroner"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/docker/dockerfile"
	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/enforcer"
	"ds01.dev/ds01/internal/gateway"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/inventory"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/lookout"
	"ds01.dev/ds01/internal/partitioner"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/reconciler"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/sampler"
	"ds01.dev/ds01/internal/steward"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/terminal"
	"ds01.dev/ds01/internal/warden"
)

// Options are what the command line says.
type Options struct {
	Root    string // everything lies under it; "" is the host's own root
	Version string
	Reload  <-chan os.Signal // one per SIGHUP; nil: never
	Log     *slog.Logger
}

// gcPercent is how far the heap may grow between two collections.
const gcPercent = 400

// Run serves until ctx ends, then stops cleanly; containers run on. Every
// error at start names what is wrong and leaves everything as it was.
func Run(ctx context.Context, o Options) (err error) {
	if os.Geteuid() != 0 {
		return &problem.Error{What: "ds01 daemon not started", Why: problem.Because(problem.ErrDenied, "it must run as root"), Next: "Start it with: sudo ds01 daemon, or as the systemd service ds01."}
	}
	// What lives long is a few MiB, so that by default each long list would set
	// off a collection.
	debug.SetGCPercent(gcPercent)
	d := &daemon{Options: o, paths: config.PathsUnder(o.Root), accounts: accounts{directory.NewRecent(directory.Lookup, time.Now, directory.Files()...)}, origins: peer.NewOrigins(), narrows: &narrows{count: map[string]int{}}, closing: make(chan struct{})}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.build(ctx); err != nil {
		return err
	}
	return d.run(ctx)
}

// daemon is one running daemon with everything it must close.
type daemon struct {
	Options
	paths    config.Paths
	settings *settings
	policy   *sitePolicy
	host     *host
	driver   driver
	sim      api.Simulator
	engine   *docker.Engine
	records  *store.Store

	audit       *audit.Log
	recorder    *recorder.Recorder
	warden      *warden.Warden
	steward     *steward.Steward
	inventory   *inventory.Inventory
	ledger      *allocator.Allocator
	partitioner *partitioner.Partitioner
	shape       *shape
	registrar   *registrar.Registrar
	images      *curator.Curator
	launcher    *launcher.Launcher
	reconciler  *reconciler.Reconciler
	sampler     *sampler.Sampler
	terminals   sampler.Terminals
	enforcer    *enforcer.Enforcer
	coroner     *coroner.Coroner
	lookout     *lookout.Lookout
	post        *post
	servers     []*server
	doors       *doors
	origins     *peer.Origins
	narrows     *narrows
	accounts    accounts

	closing chan struct{} // closed once nobody new is served
	closers []func() error
}

func (d *daemon) onClose(f func() error) { d.closers = append(d.closers, f) }

// close undoes build, last first.
func (d *daemon) close() error {
	var errs []error
	for _, closer := range slices.Backward(d.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// build makes every part, from the ground up.
func (d *daemon) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.lock, d.configure, d.openAudit, d.openDriver, d.openEngine, d.openLedger, d.tidyMounts, d.wire, d.listen,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *daemon) configure(ctx context.Context) error {
	s, err := loadSettings(ctx, d.paths, d.Log)
	if err != nil {
		return err
	}
	d.settings = s
	d.paths = d.paths.Sockets(s.config(), d.Root)
	d.policy = &sitePolicy{folder: d.paths.Policy, log: d.Log}
	if err := d.policy.reload(ctx); err != nil {
		d.Log.ErrorContext(ctx, "site policy is broken: no container is created or started, no image pulled or pushed", "error", err)
	}
	return nil
}

func (d *daemon) openEngine(context.Context) error {
	engine, err := docker.New(d.paths.Engine)
	if err != nil {
		return err
	}
	d.engine = engine
	d.onClose(engine.Close)
	d.host, err = newHost(d)
	return err
}

func (d *daemon) openLedger(ctx context.Context) error {
	records, err := store.Open(ctx, d.paths.Database)
	if err != nil {
		return err
	}
	d.onClose(records.Close)
	d.records = records
	if d.warden, err = warden.New(ctx, warden.Parts{
		Store: records, Refresh: d.refreshDevices, Watch: d.driver.Watch, Boot: probe.Boot(), Record: d.recorder.Daemon, Log: d.Log, Now: time.Now,
		Readings: d.host.readings, Claims: func() []gpu.Claim { return d.ledger.Claims() }, Members: d.host.members, Identify: identify,
		Allowed: func(pid int) bool { return probe.Runs(pid, d.settings.config().GPU.AllowPrograms) },
		Taken:   func(taken map[string]string) { d.ledger.SetStrangers(taken) },
	}); err != nil {
		return err
	}
	if d.inventory, err = inventory.New(ctx, guarded{permitted{d.driver, d.settings}, d.warden}, d.paths.DeviceNodes, d.paths.DeviceLinks, d.Log); err != nil {
		return err
	}
	if d.ledger, err = allocator.New(ctx, records, d.inventory.Devices, time.Now); err != nil {
		return err
	}
	if d.images, err = curator.New(ctx, records, announced{d.engine}, d.ledger, time.Now); err != nil {
		return err
	}
	d.ledger.SetBlind(true) // until the reconciler has looked
	d.ledger.Govern(d.host.site())
	d.partitioner = partitioner.New(partitioner.Parts{
		Driver: guarded{d.driver, d.warden}, Store: records, Ledger: d.ledger, Refresh: d.inventory.Refresh, Record: d.recorder.Daemon, Log: d.Log, Now: time.Now,
	})
	d.ledger.Shape(d.cards())
	d.shape.learn()
	d.registrar, err = registrar.New(ctx, registrar.Parts{
		Engine: announced{d.engine}, Store: records, Lock: d.ledger.Lock, Config: d.settings.config, Served: d.host.bridged,
		Routes: routes, Log: d.Log, Now: time.Now,
	})
	return err
}

// wire hands each part the others it works with.
func (d *daemon) wire(ctx context.Context) error {
	h := d.host
	d.doors = &doors{folder: d.paths.Doors, holds: h.holds, log: d.Log, open: map[string]*server{}}
	var doors launcher.Doors // nil where there are to be none
	if d.settings.config().Gateway.Doors {
		doors = d.doors
	}
	d.post = newPost(func() config.Mail { return d.settings.config().Mail }, hostname(), d.Log)
	d.launcher = launcher.New(launcher.Parts{
		Engine: announced{d.engine}, Images: d.images, Ledger: d.ledger, Registrar: d.registrar, Mounter: mounter{h}, Cgroups: h, Accounts: d.accounts,
		Doors: doors, Gateway: d.paths.Gateway,
		Limits: h.limits, Type: h.kind, Roots: mounter{h}.roots, Mappable: mounter{h}.mappable,
		Devices: d.inventory.Devices, Isolation: h.isolation, Libraries: h.libraries, Runtime: h.runtime, Space: h.space,
		AtStart: h.atStart, Grants: grant.Folder(d.paths.DeviceNodes), Live: live{h},
		Policy: d.policy.current, Roles: h.roles, Rates: h.setRates, Spare: h.spare,
		Started: func(o container.Observed) { d.reconciler.Started(o) },
		Log:     d.Log, Now: time.Now, MountFolder: d.paths.Mounts, NodeFolder: d.paths.DeviceNodes,
	})
	d.enforcer, d.coroner, d.lookout = h.enforcer(), h.coroner(), h.lookout()
	d.reconciler = reconciler.New(reconciler.Parts{
		Engine: d.engine, Connected: d.connected, Named: d.images.Marked, Ledger: d.ledger, Launcher: d.launcher, Registrar: d.registrar,
		Remove: d.removeNow,
		Stop:   d.stopNow, // somebody else owns its device
		Disarm: func(ctx context.Context, id string) error {
			_, err := d.engine.Update(ctx, id, []byte(`{"RestartPolicy":{"Name":"no"}}`))
			return err
		},
		KeepTime: func(ctx context.Context) { d.steward.KeepTime(ctx) },
		Tell:     func(uid int, text string) (int, error) { return terminal.Tell(terminal.Folder, uid, text) },
		Mail:     d.post.Send,
		Limits:   h.limitsOfUID,
		Devices:  d.inventory.Devices, Recorder: d.recorder, Log: d.Log, Now: time.Now,
	})
	d.sampler = d.newSampler()
	return d.openSteward(ctx)
}

// refreshDevices has everybody know the cards as they are now.
func (d *daemon) refreshDevices(ctx context.Context) error {
	defer d.ledger.DevicesChanged()
	return d.inventory.Refresh(ctx)
}

// refreshSimulated has everybody know the cards and what runs on them.
func (d *daemon) refreshSimulated(ctx context.Context) error {
	err := d.refreshDevices(ctx)
	d.warden.Look(ctx)
	return err
}

// removeNow removes a container, whatever is under way in it.
func (d *daemon) removeNow(ctx context.Context, id string) error {
	d.endCopies(id)
	return d.engine.Remove(ctx, id, true)
}

// stopNow ends what runs in a container without a grace period.
func (d *daemon) stopNow(ctx context.Context, id string) error {
	d.endCopies(id)
	return d.engine.Stop(ctx, id, 0)
}

// endCopies breaks copies off, for which the engine keeps a container as it is.
func (d *daemon) endCopies(id string) {
	if record, ok := d.ledger.ByContainer(id); ok {
		d.launcher.EndCopies(record.ID)
	}
}

// connected asks the engine who it is and takes up what was under way with images.
func (d *daemon) connected(ctx context.Context) error {
	if err := d.host.connected(ctx); err != nil {
		return err
	}
	d.launcher.EngineBegan()
	d.enforcer.Wake()
	if err := d.images.Recover(ctx); err != nil { // what was lent or made stays hidden
		d.Log.WarnContext(ctx, "images not recovered", "error", err)
	}
	return nil
}

func (d *daemon) gateway() *gateway.Gateway {
	h := d.host
	return gateway.New(gateway.Parts{
		Engine: d.engine, Images: d.images, Ledger: d.ledger, Launcher: d.launcher, Registrar: d.registrar, Observer: d.reconciler, Accounts: d.accounts,
		GPUWait:    func() time.Duration { return d.settings.config().GPU.Queue.DockerWaitFor() },
		Registries: func() []string { return d.settings.config().Images.Registries }, Space: h.space,
		Roles: h.roles, Isolation: h.isolation, API: h.apiVersion, StopGrace: h.stopGrace, Files: files{h}, Recipes: dockerfile.Reader{}, Kit: kit{buildkit.New(d.engine.Dial, time.Now, d.records, d.Log), h, d.narrows}, Terminals: &d.terminals, Closing: d.closing,
		Origins: d.origins, Recorder: d.recorder, Log: d.Log, Now: time.Now,
	})
}

func (d *daemon) api() *api.API {
	h := d.host
	return api.New(api.Parts{
		Accounts: d.accounts, Engine: announced{d.engine}, Images: d.images, Ledger: d.ledger, Launcher: d.launcher, Reconciler: d.reconciler, Enforcer: d.enforcer, Lookout: d.lookout, Warden: d.warden, Steward: d.steward,
		Recipes: dockerfile.Reader{}, Bases: buildkit.Bases, Usage: h, Cards: d.partitioner, Simulator: d.sim, Devices: d.inventory.Devices, Readings: h.readings,
		Document: d.settings.document, Members: func() (map[string]limitsFile, error) { return readMembers(d.paths.Members) },
		Limits: h.limits, State: d.state, Facts: d.facts, Orphans: &orphans{daemon: d}, Origins: d.origins, Recorder: d.recorder, Audit: d.audit, Log: d.Log, Now: time.Now, Host: hostname(),
	})
}

// state gathers what the API tells about the daemon.
func (d *daemon) state() api.State {
	info, _ := d.host.info()
	c := d.settings.config()
	libraries, err := d.host.libraries()
	broken, others := d.policy.problem()
	mode, _ := c.GPU.MIG.Keeps()
	return api.State{
		Version: d.Version, Engine: info, EngineUp: d.reconciler.Up(), CgroupVersion: d.host.tree.Version(),
		GPUProvider: c.GPU.Provider, MIGMode: mode, Libraries: libraries, LibrariesProblem: err, DefaultImage: c.Images.Default,
		Groups: c.Groups.Roles(), LimitsProblem: d.settings.problem(), Warnings: slices.Concat(d.settings.warnings(), cutOff(d.Root)),
		AuditProblem: d.audit.Problem(), Space: d.host.space(),
		PolicyRules: d.policy.count(), PolicyProblem: broken, PolicyStays: others,
		MailHook: c.Mail.Hook, MailProblem: d.post.problem(), Gaps: d.sampler.Gaps(),
	}
}

// refreshGPUs is how often the driver is asked for its cards.
const refreshGPUs = 15 * time.Second

func (d *daemon) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.inventory.Run(ctx, refreshGPUs) })
	g.Go(func() error { return d.warden.Run(ctx, refreshGPUs) })
	g.Go(func() error { return d.reconciler.Run(ctx) })
	g.Go(func() error { return d.enforcer.Run(ctx) })
	g.Go(func() error { return d.coroner.Run(ctx) })
	g.Go(func() error { return d.lookout.Run(ctx) })
	g.Go(func() error { return d.partitioner.Run(ctx) })
	g.Go(func() error { return d.steward.Run(ctx) })
	g.Go(func() error { return d.cut(ctx) })
	g.Go(func() error { return d.reloads(ctx) })
	g.Go(func() error { return d.audit.Run(ctx) })
	g.Go(func() error { return d.recorder.Run(ctx) })
	g.Go(func() error { return d.doors.run(ctx) })
	g.Go(func() error { return d.post.run(ctx) })
	g.Go(func() error { return giveMemoryBack(ctx) })
	for _, s := range d.servers {
		g.Go(func() error { return s.run(ctx) })
	}
	d.notify(ctx, sdnotify.SdNotifyReady)
	d.Log.InfoContext(ctx, "ds01 is up", "version", d.Version, "gateway", d.paths.Gateway, "api", d.paths.APISocket, "engine", d.paths.Engine)
	<-ctx.Done()
	d.notify(ctx, sdnotify.SdNotifyStopping)
	close(d.closing)
	err := g.Wait()
	d.Log.InfoContext(ctx, "ds01 has stopped; containers run on")
	return err
}

// What a burst of requests has taken is given back to the host once it is over:
// by itself the heap stays as large as gcPercent lets it grow.
const (
	spareHeap     = 6 << 20 // bytes that may stay, besides those in use
	giveBackEvery = 30 * time.Second
)

func giveMemoryBack(ctx context.Context) error {
	tick := time.NewTicker(giveBackEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		inUse := m.NextGC * 100 / (100 + gcPercent) // when it was last collected
		if m.HeapSys-m.HeapReleased > inUse+spareHeap {
			debug.FreeOSMemory()
		}
	}
}

func (d *daemon) notify(ctx context.Context, state string) {
	if _, err := sdnotify.SdNotify(false, state); err != nil {
		d.Log.WarnContext(ctx, "service manager not told", "state", state, "error", err)
	}
}

// reloads reads the configuration again at each signal; a bad one leaves the
// last good one in force.
func (d *daemon) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.Reload:
			d.notify(ctx, sdnotify.SdNotifyReloading)
			err, broken := d.settings.reload(ctx), d.policy.reload(ctx)
			d.recordReload(ctx, errors.Join(err, broken))
			if broken != nil {
				d.Log.ErrorContext(ctx, "site policy not reloaded, the last good one stays", "error", broken)
			}
			if err != nil {
				d.Log.ErrorContext(ctx, "configuration not reloaded, the last good one stays", "error", err)
			} else {
				d.Log.InfoContext(ctx, "configuration reloaded")
				d.enforcer.Wake()
			}
			d.notify(ctx, sdnotify.SdNotifyReady)
		}
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return name
}

// lock keeps a second daemon off the same root.
func (d *daemon) lock(context.Context) error {
	if err := makeFolders(d.paths); err != nil {
		return &problem.Error{
			What: "ds01 daemon not started", Why: problem.Because(problem.ErrUnavailable, "its folders can't be made: "+err.Error()),
			Next: "Check the disk, and whether it is mounted read-only.",
		}
	}
	unlock, err := lockFile(d.paths.Lock)
	if err != nil {
		return err
	}
	d.onClose(unlock)
	return nil
}
