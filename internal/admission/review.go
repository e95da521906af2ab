package admission

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Isolation is how the engine keeps root in a container from being root on
// the host.
type Isolation string

// The two isolation modes. The engine tells which one holds.
const (
	UserNS Isolation = "userns" // the engine remaps user namespaces
	UID    Isolation = "uid"    // it doesn't: containers with host mounts run as the caller
)

// A Subject is who asks, and what binds them.
type Subject struct {
	Account   account.Account
	Limits    limits.Limits // already clamped to the host
	Isolation Isolation
}

// A Grant is what the rest of ds01 has granted to a request.
type Grant struct {
	Labels       map[string]string // every label that ds01 writes
	ImageLabels  map[string]string // labels baked into the image
	Devices      []gpu.Device
	Libraries    string // how driver libraries come: LibrariesNone, LibrariesCDI or LibrariesHook
	NodeFolder   string // host folder that holds the devices' nodes
	Mounts       []container.Mount
	CgroupParent string
}

// Ways for driver libraries to come into a container, as config spells them.
const (
	LibrariesNone = "none"
	LibrariesCDI  = "cdi"
	LibrariesHook = "hook"
)

// Review returns the request that is sent in place of c: what the subject may
// not ask is refused, what they left open is set to their limits, what only
// ds01 may write is written. Zero never means unlimited. Errors are of kind
// problem.ErrDenied, problem.ErrLimit or problem.ErrInvalid.
func Review(c Create, s Subject, g Grant) (Create, error) {
	for _, step := range []func(*Create, Subject, Grant) error{
		reviewRefused, reviewProcess, reviewHost, reviewMemory, reviewCPU, reviewUlimits,
		reviewLabels, reviewStop, reviewTmpfs, grantMounts, grantDevices,
	} {
		if err := step(&c, s, g); err != nil {
			return Create{}, err
		}
	}
	return c, nil
}

func reviewRefused(c *Create, _ Subject, _ Grant) error {
	for _, r := range c.refused() {
		if r.value.asked != "" {
			return denied(notCreated, r.field+" can't be set: "+r.why, "Leave the option away.")
		}
	}
	h := &c.HostConfig
	if h.CgroupParent != "" || len(h.DeviceCgroupRules) > 0 {
		return denied(notCreated, "HostConfig.CgroupParent and DeviceCgroupRules can't be set: they carry your limits and your devices", "Leave the option away.")
	}
	return nil
}

func reviewProcess(c *Create, s Subject, _ Grant) error {
	if err := checkWorkingDir(notCreated, c.WorkingDir); err != nil {
		return err
	}
	if h := c.Healthcheck; h != nil {
		for _, d := range []int64{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval} {
			if d != 0 && d < int64(time.Second) {
				return denied(notCreated, "health checks run once a second at most", "Give --health-interval and its kin in whole seconds.")
			}
		}
	}
	c.Env = append(withoutGPUVariables(c.Env), "NVIDIA_VISIBLE_DEVICES=void")
	for _, group := range c.HostConfig.GroupAdd {
		if s.Isolation == UID && !ownGroup(s.Account, group) {
			return denied(notCreated, fmt.Sprintf("--group-add %s: you aren't in that group", group), "Add groups of your own only.")
		}
	}
	return nil
}

func ownGroup(a account.Account, group string) bool {
	return slices.ContainsFunc(a.Groups, func(g account.Group) bool { return group == strconv.Itoa(g.GID) })
}

func reviewHost(c *Create, _ Subject, g Grant) error {
	h := &c.HostConfig
	for _, f := range []struct {
		field, value string
		allowed      []string
	}{
		{"HostConfig.NetworkMode", h.NetworkMode, []string{"", "default", "bridge", "none"}},
		{"HostConfig.IpcMode", h.IpcMode, []string{"", "private", "none"}},
		{"HostConfig.CgroupnsMode", h.CgroupnsMode, []string{"", "private"}},
		{"HostConfig.RestartPolicy", h.RestartPolicy.Name, []string{"", "no"}},
		{"HostConfig.LogConfig", h.LogConfig.Type, []string{"", "json-file", "none"}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return denied(notCreated, fmt.Sprintf("%s: %q is not served", f.field, f.value),
				"Leave the option away, or use one of: "+strings.Join(f.allowed[1:], ", ")+".")
		}
	}
	for name, e := range c.NetworkingConfig.EndpointsConfig {
		if !slices.Contains([]string{"default", "bridge", "none"}, name) || e.asks() {
			return denied(notCreated, fmt.Sprintf("network %q is not served", name), "Leave --network and its options away.")
		}
	}
	c.NetworkingConfig = NetworkingConfig{}
	for _, o := range h.SecurityOpt {
		if o != "no-new-privileges" && o != "no-new-privileges:true" && o != "no-new-privileges=true" {
			return denied(notCreated, fmt.Sprintf("--security-opt %s loosens what keeps containers apart", o), "Leave it away.")
		}
	}
	if h.OomScoreAdj < 0 {
		return denied(notCreated, "a negative --oom-score-adj makes others pay for your memory", "Leave it away.")
	}
	h.RestartPolicy = RestartPolicy{Name: "no"}
	if h.LogConfig.Config = nil; h.LogConfig.Type != "none" {
		// A container's log never fills the disk.
		h.LogConfig = LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}
	}
	h.CapDrop = append(h.CapDrop, "MKNOD")
	h.CgroupParent = g.CgroupParent
	h.CgroupnsMode = "private" // on cgroup v1 the engine would show the host's groups
	return nil
}

// within returns asked, or the limit where nothing was asked. More than the
// limit is refused with the number, the limit and where it comes from.
func within[T ~int64](s Subject, option, key string, asked int64, limit quantity.Limit[T], text func(T) string) (int64, error) {
	if limit.Unlimited {
		return max(asked, 0), nil
	}
	if asked <= 0 {
		return int64(limit.Value), nil
	}
	if T(asked) > limit.Value {
		return 0, &problem.Error{
			What: notCreated,
			Why: problem.Because(problem.ErrLimit, fmt.Sprintf("%s %s is over your limit of %s (%s: %s)",
				option, text(T(asked)), text(limit.Value), key, s.Limits.Source(key))),
			Next: fmt.Sprintf("Ask for %s or less, or leave %s away; 'ds01 user limits' shows all your limits.", text(limit.Value), option),
			Code: "LIMIT_" + strings.ToUpper(key),
		}
	}
	return asked, nil
}

func reviewMemory(c *Create, s Subject, _ Grant) (err error) {
	h, l := &c.HostConfig, s.Limits
	if h.Memory, err = within(s, "--memory", "memory", h.Memory, l.Memory, quantity.ByteSize.String); err != nil {
		return err
	}
	if asked := h.MemorySwap; asked > 0 {
		if h.MemorySwap, err = within(s, "--memory-swap", "memory_swap", asked, l.MemorySwap, quantity.ByteSize.String); err != nil {
			return err
		}
	} else if !l.Memory.Unlimited && !l.MemorySwap.Unlimited {
		h.MemorySwap = h.Memory + max(0, int64(l.MemorySwap.Value-l.Memory.Value))
	}
	if h.Memory > 0 && h.MemorySwap > 0 && h.MemorySwap < h.Memory {
		return refuse(problem.ErrInvalid, notCreated, "--memory-swap is memory and swap together, so it can't be less than --memory", "Leave --memory-swap away.")
	}
	if h.MemoryReservation < 0 || h.Memory > 0 && h.MemoryReservation > h.Memory {
		h.MemoryReservation = 0
	}
	h.ShmSize, err = within(s, "--shm-size", "shm_size", h.ShmSize, l.ShmSize, quantity.ByteSize.String)
	return err
}

func reviewCPU(c *Create, s Subject, _ Grant) (err error) {
	h := &c.HostConfig
	limit, key := s.Limits.MaxCPUs, "max_cpus"
	if total := s.Limits.Aggregate.CPUs; !total.Unlimited && (limit.Unlimited || total.Value < limit.Value) {
		limit, key = total, "aggregate.cpus" // a child's quota above its parent's is refused by the kernel
	}
	if h.NanoCPUs, err = within(s, "--cpus", key, h.NanoCPUs, limit, quantity.CPUs.String); err != nil {
		return err
	}
	if h.CPUShares < 0 || h.CPUShares > 1024 {
		return denied(notCreated, "--cpu-shares above 1024 takes processor time from others", "Ask for 1024 or less.")
	}
	var pids int64
	if h.PidsLimit != nil {
		pids = *h.PidsLimit
	}
	if pids, err = within(s, "--pids-limit", "pids_limit", pids, s.Limits.PidsLimit, count); err != nil {
		return err
	}
	h.PidsLimit = nil
	if pids > 0 {
		h.PidsLimit = &pids
	}
	return nil
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func reviewUlimits(c *Create, s Subject, _ Grant) (err error) {
	limit := s.Limits.UlimitNofile
	nofile := Ulimit{Name: "nofile", Soft: limit.Value, Hard: limit.Value}
	var kept []Ulimit
	for _, u := range c.HostConfig.Ulimits {
		switch u.Name {
		case "core", "memlock", "stack", "nproc":
			kept = append(kept, u)
		case "nofile":
			if nofile.Hard, err = within(s, "--ulimit nofile", "ulimit_nofile", u.Hard, limit, count); err != nil {
				return err
			}
			if nofile.Soft = u.Soft; u.Soft <= 0 || u.Soft > nofile.Hard {
				nofile.Soft = nofile.Hard
			}
		default:
			return denied(notCreated, fmt.Sprintf("--ulimit %s is not served", u.Name), "core, memlock, nofile, nproc and stack are.")
		}
	}
	if nofile.Hard > 0 { // zero is what nobody asked for, and what nobody limits
		kept = append(kept, nofile)
	}
	c.HostConfig.Ulimits = kept
	return nil
}

// reviewLabels writes ds01's labels over the client's and the image's. A
// client may send a reserved key only with the value it would get.
func reviewLabels(c *Create, _ Subject, g Grant) error {
	labels := map[string]string{}
	for k, v := range g.ImageLabels {
		if _, ours := g.Labels[k]; !ours && label.Reserved(k) {
			labels[k] = "" // a label of an image can't be taken away, only emptied
		} else if g.Labels[label.Login] != "" && strings.Contains(v, ",") {
			labels[k] = label.Clean(v) // mlc list breaks on it
		}
	}
	for k, v := range c.Labels {
		if label.Reserved(k) && g.Labels[k] != v {
			return denied(notCreated, fmt.Sprintf("label %q is written by ds01 only", k), "Use another label key.")
		}
		labels[k] = v
	}
	maps.Copy(labels, g.Labels)
	c.Labels = labels
	return nil
}

// reviewStop keeps a stop within the owner's stop_timeout.
func reviewStop(c *Create, s Subject, _ Grant) error {
	limit := s.Limits.StopTimeout
	if limit.Unlimited {
		return nil
	}
	seconds := int(limit.Value / time.Second)
	if c.StopTimeout == nil || *c.StopTimeout < 0 || *c.StopTimeout > seconds {
		c.StopTimeout = &seconds
	}
	return nil
}

// reviewTmpfs takes tmpfs mounts in both spellings and makes them nosuid and
// nodev. Their pages count as the container's memory.
func reviewTmpfs(c *Create, _ Subject, _ Grant) error {
	ask, err := c.Ask()
	if err != nil {
		return err
	}
	tmpfs := map[string]string{}
	for target, options := range c.HostConfig.Tmpfs {
		if err := checkTarget(path.Clean(target)); err != nil {
			return err
		}
		if _, twice := tmpfs[path.Clean(target)]; twice {
			return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("two mounts go to %s", path.Clean(target)), "Give each mount a path of its own.")
		}
		kept := []string{"nosuid", "nodev"}
		for o := range strings.SplitSeq(options, ",") {
			key, _, _ := strings.Cut(o, "=")
			if slices.Contains([]string{"size", "mode", "uid", "gid", "exec", "noexec", "ro", "rw"}, key) {
				kept = append(kept, o)
			} else if !slices.Contains([]string{"", "nosuid", "nodev"}, key) {
				return denied(notCreated, fmt.Sprintf("tmpfs option %q is not served", o), "size, mode, uid, gid, exec and ro are.")
			}
		}
		tmpfs[path.Clean(target)] = strings.Join(kept, ",")
	}
	for _, m := range ask.Tmpfs {
		options := []string{"nosuid", "nodev"}
		if o := m.TmpfsOptions; o != nil && o.SizeBytes > 0 {
			options = append(options, fmt.Sprintf("size=%d", o.SizeBytes))
		}
		if o := m.TmpfsOptions; o != nil && o.Mode > 0 {
			options = append(options, fmt.Sprintf("mode=%o", o.Mode&0o1777))
		}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		tmpfs[path.Clean(m.Target)] = strings.Join(options, ",")
	}
	c.HostConfig.Tmpfs = tmpfs
	return nil
}

// grantMounts replaces what the client named by the root-owned paths that
// ds01 mounts the opened directories at.
func grantMounts(c *Create, s Subject, g Grant) error {
	h := &c.HostConfig
	h.Binds, h.Mounts = nil, nil
	for _, m := range g.Mounts {
		h.Mounts = append(h.Mounts, bind(m.HostPath, m.Target, m.ReadOnly))
	}
	if len(g.Mounts) == 0 {
		return nil
	}
	for _, group := range s.Account.Groups {
		if id := strconv.Itoa(group.GID); group.GID != s.Account.GID && !slices.Contains(h.GroupAdd, id) {
			h.GroupAdd = append(h.GroupAdd, id)
		}
	}
	if s.Isolation == UID {
		own := fmt.Sprintf("%d:%d", s.Account.UID, s.Account.GID)
		if c.User != "" && c.User != own && c.User != strconv.Itoa(s.Account.UID) {
			return denied(notCreated,
				fmt.Sprintf("this host's engine doesn't remap users, so a container with your directories runs as you (%s), not as %q", own, c.User),
				"Leave --user away, or leave the mounts away.")
		}
		c.User = own
		h.CapDrop = []string{"ALL"}
		h.SecurityOpt = []string{"no-new-privileges"}
	}
	return nil
}

func bind(source, target string, readOnly bool) MountPoint {
	return MountPoint{
		Type: "bind", Source: source, Target: target, ReadOnly: readOnly,
		BindOptions: &BindOptions{Propagation: "rprivate"},
	}
}

// grantDevices opens the granted devices, by bind mount and cgroup rule or
// through the engine's own GPU support where libraries must come with them.
func grantDevices(c *Create, _ Subject, g Grant) error {
	h := &c.HostConfig
	h.DeviceRequests = nil
	if len(g.Devices) == 0 {
		return nil
	}
	ids := make([]string, len(g.Devices))
	for i, d := range g.Devices {
		ids[i] = d.UUID
	}
	switch g.Libraries {
	case LibrariesCDI:
		for i := range ids {
			ids[i] = "nvidia.com/gpu=" + ids[i]
		}
		h.DeviceRequests = []DeviceRequest{{Driver: "cdi", DeviceIDs: ids}}
	case LibrariesHook:
		// The engine writes NVIDIA_VISIBLE_DEVICES for the hook; ours would win.
		c.Env = slices.DeleteFunc(c.Env, func(e string) bool { return e == "NVIDIA_VISIBLE_DEVICES=void" })
		h.DeviceRequests = []DeviceRequest{{Driver: "nvidia", DeviceIDs: ids, Capabilities: [][]string{{"gpu", "compute", "utility"}}}}
	default:
		grantNodes(h, g)
	}
	return nil
}

func grantNodes(h *HostConfig, g Grant) {
	var seen []string
	for _, d := range g.Devices {
		for _, n := range d.Nodes {
			if slices.Contains(seen, n.Name) {
				continue // devices share control nodes
			}
			seen = append(seen, n.Name)
			h.Mounts = append(h.Mounts, bind(path.Join(g.NodeFolder, n.Name), "/dev/"+n.Name, false))
			h.DeviceCgroupRules = append(h.DeviceCgroupRules, fmt.Sprintf("c %d:%d rw", n.Major, n.Minor))
		}
	}
}
