package admission

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

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
		// The hook opens devices behind the engine's back, and systemd, which
		// knows what the engine tells it, closes them when it reads its units
		// again (NVIDIA/nvidia-docker#1671).
		for _, n := range nodes(g.Devices) {
			h.DeviceCgroupRules = append(h.DeviceCgroupRules, rule(n))
		}
	default:
		for _, n := range nodes(g.Devices) {
			h.Mounts = append(h.Mounts, bind(path.Join(g.NodeFolder, n.Name), "/dev/"+n.Name, false))
			h.DeviceCgroupRules = append(h.DeviceCgroupRules, rule(n))
		}
	}
	return nil
}

// rule lets a container open the node.
func rule(n gpu.Node) string { return fmt.Sprintf("c %d:%d rw", n.Major, n.Minor) }

// nodes returns every node of the devices once: they share control nodes.
func nodes(devices []gpu.Device) []gpu.Node {
	var all []gpu.Node
	for _, d := range devices {
		for _, n := range d.Nodes {
			if !slices.ContainsFunc(all, func(o gpu.Node) bool { return o.Name == n.Name }) {
				all = append(all, n)
			}
		}
	}
	return all
}
