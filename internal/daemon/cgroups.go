package daemon

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/api"
	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/systemd"
)

// bySystemd reports whether the engine leaves control groups to systemd.
func (h *host) bySystemd() bool {
	info, _ := h.info()
	return info.CgroupDriver == "systemd"
}

// parent is the group, or the slice, that everybody's are in.
func (h *host) parent() string {
	switch p := h.d.settings.config().Cgroup.Parent; {
	case p != config.Auto:
		return p
	case h.bySystemd():
		return "ds01.slice"
	}
	return "/ds01"
}

func group(uid int) string { return "u" + strconv.Itoa(uid) }

// path is where a person's control group lies.
func (h *host) path(uid int) string {
	if h.bySystemd() {
		return filepath.Join("/", h.parent(), systemd.Slice(h.parent(), uid))
	}
	return filepath.Join(h.parent(), group(uid))
}

// Ensure makes the person's control group with their totals. While their
// containers hold more memory than they may by now, nothing more starts.
func (h *host) Ensure(ctx context.Context, uid int, l limits.Limits) (string, error) {
	d, err := h.settle(ctx, uid, l)
	if err == nil && d.Wanted > 0 {
		err = problem.Because(problem.ErrLimit, "what runs there holds more memory than its new limit of "+d.Wanted.String())
	}
	return h.Parent(uid), err
}

// settle gives the person's control group their totals, of memory no less than
// what is in use.
func (h *host) settle(ctx context.Context, uid int, l limits.Limits) (d limits.Deferral, err error) {
	totals := cgroup.Limits{
		CPUs: l.Aggregate.CPUs, Memory: l.Aggregate.Memory, MemoryHigh: l.Aggregate.MemoryHigh, Tasks: l.Aggregate.Tasks,
	}
	parent := h.parent()
	if strings.HasSuffix(parent, ".slice") != h.bySystemd() {
		return d, &problem.Error{
			What: "Container not started", Why: problem.Because(problem.ErrUnavailable, "cgroup.parent of ds01.yaml, "+parent+", doesn't suit the engine's cgroup driver"),
			Next: "Administrators: set it to auto.",
		}
	}
	if d, err = h.ease(uid, &totals); err != nil {
		return d, err
	}
	if h.bySystemd() {
		return d, h.systemd.Ensure(ctx, systemd.Slice(parent, uid), systemd.Limits(totals))
	}
	return d, h.tree.Ensure(parent, group(uid), totals)
}

// ease raises a total of memory that is lowered, so that nothing has to be
// ended for it.
func (h *host) ease(uid int, totals *cgroup.Limits) (d limits.Deferral, err error) {
	if totals.Memory.Unlimited {
		return d, nil
	}
	has, err := h.tree.Limit(h.path(uid))
	wanted := totals.Memory.Value
	if err != nil || has > 0 && wanted >= has {
		return d, ifThere(err)
	}
	least, err := h.tree.Least(h.path(uid), wanted)
	if err != nil {
		return d, ifThere(err)
	}
	totals.Memory.Value, d = limits.Lower(has, wanted, least)
	totals.MemoryHigh.Value = max(totals.MemoryHigh.Value, min(least, totals.Memory.Value))
	return d, nil
}

// ifThere takes it that a group that isn't there holds nothing.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// spare returns the least limit of memory at which nothing in a container
// would be ended.
func (h *host) spare(uid int, id string, to quantity.ByteSize) (quantity.ByteSize, error) {
	return h.tree.Least(h.container(uid, id), to)
}

// Parent is the person's control group as the engine is told it.
func (h *host) Parent(uid int) string {
	if h.bySystemd() {
		return systemd.Slice(h.parent(), uid)
	}
	return h.path(uid)
}

// container is where a container's control group lies.
func (h *host) container(uid int, id string) string {
	if h.bySystemd() {
		id = "docker-" + id + ".scope"
	}
	return filepath.Join(h.path(uid), id)
}

// holds reports whether a process is in a container.
func (h *host) holds(uid int, id string, pid int) bool {
	return h.tree.Holds(h.container(uid, id), pid)
}

// members returns the processes of a claim's container.
func (h *host) members(c gpu.Claim) map[int]bool {
	if c.ContainerID == "" {
		return nil
	}
	return h.tree.Processes(h.container(c.UID, c.ContainerID))
}

// identify says who a process is.
func identify(pid int) (user, command string, there bool) {
	uid, command, there := probe.Process(pid)
	if !there {
		return "", "", false
	}
	user = "uid " + strconv.Itoa(uid)
	if who, err := directory.Lookup(uid); err == nil {
		user = who.Name
	}
	return user, command, true
}

// Container reads what one container uses.
func (h *host) Container(uid int, id string) (api.Sample, error) {
	return h.sample(h.container(uid, id))
}

// endTimeout bounds how long killed processes may take to go.
const endTimeout = 5 * time.Second

// End ends every process of a container.
func (h *host) End(ctx context.Context, uid int, id string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := h.Thaw(uid, id); err != nil { // who stands still doesn't end
		return 0, err
	}
	return h.tree.End(ctx, h.container(uid, id))
}

// Freeze makes every process of a container stand still.
func (h *host) Freeze(ctx context.Context, uid int, id string) error {
	return h.tree.Freeze(ctx, h.container(uid, id))
}

// Thaw lets a container's processes go on.
func (h *host) Thaw(uid int, id string) error {
	if group := h.container(uid, id); h.tree.Frozen(group) {
		return h.tree.Thaw(group)
	}
	return nil
}

// Person reads what a person's containers use together.
func (h *host) Person(uid int) (api.Sample, error) { return h.sample(h.path(uid)) }

func (h *host) sample(path string) (api.Sample, error) {
	u, err := h.tree.Usage(path)
	return api.Sample{CPUNanos: u.CPUNanos, MemoryBytes: u.MemoryBytes, MemoryLimit: u.MemoryLimit, Pids: u.Pids}, err
}
