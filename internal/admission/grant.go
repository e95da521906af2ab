package admission

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/port"
)

// A Grant is what the rest of ds01 has granted to a request.
type Grant struct {
	Labels       map[string]string // every label that ds01 writes
	ImageLabels  map[string]string // labels baked into the image
	ImageEnv     []string          // variables baked into the image
	ImageMakes   []string          // paths that its containers are given: a working directory, volumes
	ImageDir     string            // where the image begins to work
	ImageProbes  container.Probes
	Devices      []gpu.Device
	Libraries    string // how driver libraries come: LibrariesNone, LibrariesCDI or LibrariesHook
	NodeFolder   string // host folder that holds the devices' nodes
	AtStart      bool   // devices come at each start, and the engine stores none
	Mounts       []container.Mount
	CgroupParent string
	Runtime      string            // the engine's own default, "" for runc
	Wishes       *container.Wishes // what its owner asked for; nil: what is stored

	Volumes      []VolumeGrant
	ImageVolumes []string // paths that the image gives a volume to
	Subpaths     bool     // the engine can mount a part of a volume
	Networks     Networks
	Ports        []port.Port
}

// grantMounts replaces what the client named by the root-owned paths that
// ds01 mounts the opened directories at.
func grantMounts(c *Create, s Subject, g Grant) error {
	h := &c.HostConfig
	h.Binds, h.Mounts = nil, nil
	for _, m := range g.Mounts {
		h.Mounts = append(h.Mounts, bind(m.HostPath, m.Target, m.ReadOnly))
	}
	if !container.AnyFiles(g.Mounts) {
		return nil
	}
	for _, group := range s.Account.Groups {
		if id := strconv.Itoa(group.GID); group.GID != s.Account.GID && !slices.Contains(h.GroupAdd, id) {
			h.GroupAdd = append(h.GroupAdd, id)
		}
	}
	if s.Isolation == UID || g.plain() {
		return runAsOwner(c, s, g)
	}
	return nil
}

func bind(source, target string, readOnly bool) MountPoint {
	return MountPoint{
		Type: "bind", Source: source, Target: target, ReadOnly: readOnly,
		BindOptions: &BindOptions{Propagation: "rprivate"},
	}
}

// AtStartRuntime is the engine's runtime that gives a container its devices when
// it starts.
const AtStartRuntime = "ds01"

// grantDevices opens the granted devices, by bind mount and cgroup rule or
// through the engine's own GPU support where libraries must come with them.
// Where they come at each start, what is stored opens none: NVIDIA's hook is
// asked for, and is told then which devices.
func grantDevices(c *Create, _ Subject, g Grant) error {
	h := &c.HostConfig
	h.DeviceRequests, h.Devices = nil, nil
	if len(g.Devices) == 0 {
		return nil
	}
	if g.AtStart {
		h.Runtime = AtStartRuntime
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
		// The engine adds the variable that the hook goes by, and leaves an
		// image's own beside it. One of ours takes the place of that, so that
		// both say the same.
		c.Env = append(withoutVisible(c.Env), visibleDevices+"="+strings.Join(ids, ","))
		h.DeviceRequests = []DeviceRequest{{Driver: "nvidia", DeviceIDs: ids, Capabilities: [][]string{{"gpu", "compute", "utility"}}}}
		// The hook opens devices behind the engine's back, and systemd, which
		// knows what the engine tells it, closes them when it reads its units
		// again (NVIDIA/nvidia-docker#1671).
		if !g.AtStart {
			for _, n := range gpu.Nodes(g.Devices) {
				h.DeviceCgroupRules = append(h.DeviceCgroupRules, rule(n))
			}
		}
	default:
		grantNodes(h, g)
	}
	return nil
}

// grantNodes mounts the devices' nodes and opens them.
func grantNodes(h *HostConfig, g Grant) {
	if g.AtStart {
		return
	}
	for _, n := range gpu.Nodes(g.Devices) {
		h.Mounts = append(h.Mounts, bind(path.Join(g.NodeFolder, n.Name), "/dev/"+n.Name, false))
		h.DeviceCgroupRules = append(h.DeviceCgroupRules, rule(n))
	}
}

func withoutVisible(env []string) []string {
	return slices.DeleteFunc(env, func(e string) bool { return nameOf(e) == visibleDevices })
}

// rule lets a container open the node.
func rule(n gpu.Node) string { return fmt.Sprintf("c %d:%d rw", n.Major, n.Minor) }
