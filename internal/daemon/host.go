package daemon

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/systemd"
)

// host ties the decisions to this machine: what its engine is like, what it
// has, and whose directory lies where.
type host struct {
	d      *daemon
	tree   *cgroup.Tree
	nofile int64

	systemd    *systemd.Connection
	namespaces mount.Namespaces
	waits      mount.Waits
	known      atomic.Pointer[container.EngineInfo]
	rating     atomic.Pointer[rating] // nil: not known yet
	mayChange  func() error           // why devices can't be added to what runs, or taken
}

// cgroupRoot is where every Linux mounts its control groups.
const cgroupRoot = "/sys/fs/cgroup"

func newHost(d *daemon) (*host, error) {
	tree, err := cgroup.Detect(cgroupRoot)
	if err != nil {
		return nil, &problem.Error{What: "ds01 daemon not started", Why: problem.Because(problem.ErrUnavailable, err.Error()), Next: "Mount the control groups."}
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	h := &host{d: d, tree: tree, nofile: int64(min(files.Max, 1<<30)), systemd: systemd.New()}
	h.mayChange = sync.OnceValue(func() error {
		if err := tree.MayChange(); err != nil {
			return problem.Because(problem.ErrUnavailable, err.Error())
		}
		return nil
	})
	d.onClose(h.systemd.Close)
	d.onClose(h.namespaces.Close)
	return h, nil
}

// connected asks the engine who it is, each time it comes up.
func (h *host) connected(ctx context.Context) error {
	info, err := h.d.engine.Info(ctx)
	if err != nil {
		return err
	}
	h.known.Store(&info)
	h.learnRates(ctx, info.DataRoot)
	if _, err := h.libraries(); err != nil {
		h.d.Log.ErrorContext(ctx, "no GPU is granted on this engine", "error", err)
	}
	return nil
}

func (h *host) info() (container.EngineInfo, bool) {
	if info := h.known.Load(); info != nil {
		return *info, true
	}
	return container.EngineInfo{}, false
}

// space looks at the disk on which the engine keeps images and containers. A
// data root that isn't on this host is one that can't be looked at.
func (h *host) space() container.Space {
	info, ok := h.info()
	if !ok {
		return container.Space{}
	}
	total, free, err := probe.Disk(info.DataRoot)
	if err != nil {
		return container.Space{Path: info.DataRoot}
	}
	return container.Space{Known: true, Path: info.DataRoot, Total: total, Free: free, Keep: h.d.settings.config().Disk.Floor(total)}
}

// bridged reports whether the engine makes networks.
func (h *host) bridged() bool {
	info, _ := h.info()
	return info.Bridge
}

func (h *host) apiVersion() string {
	info, _ := h.info()
	return info.API
}

func (h *host) runtime() string {
	info, _ := h.info()
	return info.Runtime
}

// atStart reports whether the engine can give containers their devices when they
// start.
func (h *host) atStart() bool {
	info, _ := h.info()
	return info.AtStart
}

func (h *host) isolation() admission.Isolation {
	switch info, ok := h.info(); {
	case !ok:
		return ""
	case info.Remapped:
		return admission.UserNS
	default:
		return admission.UID
	}
}

// libraries returns how driver libraries get into containers. Until the engine
// was reached nothing is created, so there is nothing to complain of.
func (h *host) libraries() (string, error) {
	info, ok := h.info()
	if !ok {
		return admission.LibrariesNone, nil
	}
	return admission.LibrariesOn(info, h.d.settings.config().GPU)
}

func (h *host) roles(a account.Account) account.Roles {
	return account.RolesOf(a, h.d.settings.config().Groups.Roles())
}

// limits resolves a person's limits and lowers them to what the host has.
func (h *host) limits(a account.Account) limits.Limits {
	info, _ := h.info()
	l := h.d.settings.document().Resolve(a, time.Now()).ClampTo(limits.Host{
		CPUs: info.CPUs, Memory: info.Memory, Nofile: h.nofile, CgroupV2: h.tree.Version() == 2, NoRates: h.noRates(),
	})
	if h.roles(a).Priority {
		l.Priority += priorityClass
	}
	return l
}

func (h *host) limitsOfUID(uid int) (limits.Limits, error) {
	a, err := h.d.accounts.Lookup(uid)
	if err != nil {
		return limits.Limits{}, err
	}
	return h.limits(a), nil
}

// kind returns what bounds containers of a kind.
func (h *host) kind(kind string) limits.Type { return h.d.settings.document().Type(kind) }

func (h *host) stopGrace(a account.Account, kind string) time.Duration {
	if l := h.limits(a).Within(h.kind(kind)).StopTimeout; !l.Unlimited {
		return l.Value
	}
	return -1
}

func (h *host) readings(ctx context.Context) (map[string]gpu.Reading, error) {
	return h.d.inventory.Readings(ctx, time.Now())
}

// accounts looks people up where the host knows them.
type accounts struct{ *directory.Recent }

func (accounts) LookupName(name string) (account.Account, error)    { return directory.LookupName(name) }
func (accounts) All(ctx context.Context) ([]account.Account, error) { return directory.All(ctx) }
