package docker_test

import (
	"errors"
	"fmt"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/port"
)

// A world is what a request of alice's meets: her limits, the engine, the
// image, and what the rest of ds01 grants.
type world struct {
	subject admission.Subject
	bounds  bounds
	host    *host

	remapped, plain, bridged, mounted bool
	image                             container.Image
	libraries                         string
	laid                              []container.Mount // what the request was granted
	device                            bool
}

// bounds are alice's limits in numbers, zero is none.
type bounds struct{ memory, swap, shm, nanoCPUs, pids, files, stop int64 }

const (
	tight = "defaults: {memory: 2g, memory_swap: 3g, shm_size: 1g, max_cpus: 2, pids_limit: 256, ulimit_nofile: 4096, stop_timeout: 10s, mounts: [/home/alice, {path: /data, mode: ro}]}\n"
	loose = "defaults: {memory: null, memory_swap: null, shm_size: null, max_cpus: null, pids_limit: null, ulimit_nofile: null, stop_timeout: null, mounts: [/home/alice]}\n"
)

// Bits of a setting.
const (
	unmapped = 1 << iota
	plainMounts
	withCDI
	withHook
	plainImage // one that says nothing
	withoutLimits
	withoutBridge
	hurried                 // a create: the image is checked all the time
	withoutMounts = hurried // an exec: in such a container
)

func newWorld(setting byte, h *host) *world {
	has := func(bit byte) bool { return setting&bit != 0 }
	w := &world{
		host: h, remapped: !has(unmapped), plain: has(plainMounts), bridged: !has(withoutBridge), mounted: !has(withoutMounts),
		image: container.Image{ID: "sha256:0123"}, libraries: admission.LibrariesNone,
		bounds: bounds{memory: 2 << 30, swap: 3 << 30, shm: 1 << 30, nanoCPUs: 2e9, pids: 256, files: 4096, stop: 10},
	}
	w.subject = admission.Subject{Account: alice(), Limits: h.tight, Isolation: admission.UserNS}
	if !w.remapped {
		w.subject.Isolation = admission.UID
	}
	if has(withoutLimits) {
		w.subject.Limits, w.bounds = h.loose, bounds{}
	}
	if has(withCDI) {
		w.libraries = admission.LibrariesCDI
	} else if has(withHook) {
		w.libraries = admission.LibrariesHook
	}
	if !has(plainImage) {
		w.image.Env = []string{"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all", "NVIDIA_REQUIRE_CUDA=cuda>=12", "CUDA_VISIBLE_DEVICES=0", "LD_PRELOAD=/x.so", "LD_LIBRARY_PATH=/usr/lib:/x"}
		w.image.Labels = map[string]string{label.UID: "1002", label.Protected: "true", "a": "b"}
		w.image.Volumes, w.image.Makes, w.image.WorkingDir = []string{"/v"}, []string{"/v", "/srv"}, "/srv"
		w.image.Exposed = []string{"80/tcp"}
		if has(hurried) {
			w.image.Probes = container.Probes{Interval: time.Millisecond, StartInterval: time.Millisecond}
		}
	}
	return w
}

func alice() account.Account {
	return account.Account{
		UID: 1001, GID: 1001, Name: "alice", Home: "/home/alice",
		Groups: []account.Group{{GID: 1001, Name: "alice"}, {GID: 2000, Name: "vision"}},
	}
}

var errElsewhere = errors.New("refused elsewhere in ds01")

// create takes a body all the way, as the launcher does.
func (w *world) create(data []byte) ([]byte, error) {
	c, err := admission.DecodeCreate(data)
	if err != nil {
		return nil, err
	}
	if err := spread(&c); err != nil {
		return nil, err
	}
	ask, err := c.Ask()
	if err != nil {
		return nil, err
	}
	c.Image = w.image.ID
	g := admission.Grant{
		Labels:      map[string]string{label.UID: "1001", label.Claim: "0123456789abcdef", label.Managed: "true", label.Interface: label.InterfaceOf(c.Labels, label.Docker)},
		ImageProbes: w.image.Probes, ImageLabels: w.image.Labels, ImageEnv: w.image.Env, ImageMakes: w.image.Makes, ImageVolumes: w.image.Volumes, ImageDir: w.image.WorkingDir,
		Libraries: w.libraries, NodeFolder: "/run/ds01/dev", CgroupParent: "/ds01/u1001", Subpaths: true,
	}
	for _, step := range []func(admission.Create, admission.Ask, *admission.Grant) error{w.grantGPU, w.grantMounts, w.grantVolumes, w.grantNetworks, w.grantPorts} {
		if err := step(c, ask, &g); err != nil {
			return nil, err
		}
	}
	reviewed, err := admission.Review(c, w.subject, g)
	if err != nil {
		return nil, err
	}
	return admission.Encode(reviewed)
}

// spread mounts what another container of alice's has.
func spread(c *admission.Create) error {
	for _, from := range c.HostConfig.VolumesFrom {
		if from != "other:ro" {
			return errElsewhere
		}
		c.HostConfig.Mounts = append(c.HostConfig.Mounts,
			admission.MountPoint{Type: "bind", Source: "/home/alice/other", Target: "/other", ReadOnly: true},
			admission.MountPoint{Type: "volume", Source: "shared", Target: "/shared", ReadOnly: true})
	}
	c.HostConfig.VolumesFrom = nil
	return nil
}

func (w *world) grantGPU(_ admission.Create, ask admission.Ask, g *admission.Grant) error {
	if ask.GPU == nil {
		return nil
	}
	if ask.GPU.Count > 1 {
		return errElsewhere
	}
	w.device = true
	g.Devices = []gpu.Device{{UUID: "GPU-a", Nodes: []gpu.Node{{Name: "nvidia0", Major: 195}, {Name: "nvidiactl", Major: 195, Minor: 255}}}}
	return nil
}

func (w *world) grantMounts(_ admission.Create, ask admission.Ask, g *admission.Grant) error {
	for i, m := range ask.Mounts {
		m, _, err := admission.AllowMount(m, admission.MountRoots(w.subject.Account, w.subject.Limits), w.subject.Limits)
		if err != nil {
			return err
		}
		w.laid = append(w.laid, container.Mount{
			Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Plain: w.plain, HostPath: fmt.Sprintf("/run/ds01/mnt/c/%d", i),
		})
	}
	g.Mounts = w.laid
	return nil
}

func (*world) grantVolumes(_ admission.Create, ask admission.Ask, g *admission.Grant) error {
	for _, v := range ask.Volumes {
		granted := admission.VolumeGrant{VolumeAsk: v}
		if v.Name != "" {
			granted.EngineName = account.EngineName(v.Name, 1001)
		}
		g.Volumes = append(g.Volumes, granted)
	}
	return nil
}

// grantNetworks grants alice's networks, which are her default one and "net".
func (w *world) grantNetworks(_ admission.Create, ask admission.Ask, g *admission.Grant) error {
	n := ask.Network
	switch {
	case n.Container != "" && n.Container != "other":
		return errElsewhere
	case n.Container != "":
		g.Networks.Mode = "container:0ther"
		return nil
	case !w.bridged && len(n.Names) == 1 && n.Names[0] == network.Bridge:
		g.Networks.Mode = network.Default
		return nil
	}
	g.Networks.Endpoints = map[string][]string{}
	for i, name := range n.Names {
		engineName := network.DefaultOf(1001)
		if name == "net" {
			engineName = account.EngineName(name, 1001)
		} else if name != network.Bridge {
			return errElsewhere
		}
		if i == 0 {
			g.Networks.Mode = engineName
		}
		g.Networks.Endpoints[engineName] = append([]string{"mine"}, n.Aliases[name]...)
	}
	for _, link := range n.Links {
		if link.Container != "other" {
			return errElsewhere
		}
		g.Networks.Links = append(g.Networks.Links, "other:"+link.Alias)
	}
	return nil
}

func (w *world) grantPorts(c admission.Create, ask admission.Ask, g *admission.Grant) error {
	asks, err := c.PublishAll(ask.Ports, w.image.Exposed)
	if err != nil {
		return err
	}
	if len(asks) > 0 && len(g.Networks.Endpoints) == 0 {
		return errElsewhere
	}
	own := port.Policy{Own: port.Range{First: 20000, Last: 20099}, Addresses: []string{"127.0.0.1", "::1"}}
	g.Ports, err = port.Assign("", asks, own, func(string, int) bool { return false })
	return err
}
