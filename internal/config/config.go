// Package config decodes and checks the daemon's own file, ds01.yaml. It
// holds no limits: those are in resource-limits.yaml.
package config

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Config is the whole of ds01.yaml. Paths and sockets are as written; Paths
// puts them under the daemon's root.
type Config struct {
	Version  int      `yaml:"version"` // 1
	Engine   Engine   `yaml:"engine"`
	Gateway  Gateway  `yaml:"gateway"`
	GPU      GPU      `yaml:"gpu"`
	Cgroup   Cgroup   `yaml:"cgroup"`
	Images   Images   `yaml:"images"`
	Disk     Disk     `yaml:"disk"`
	Networks Networks `yaml:"networks"`
	Ports    Ports    `yaml:"ports"`
	Volumes  Volumes  `yaml:"volumes"`
	Web      Listen   `yaml:"web"`
	Metrics  Listen   `yaml:"metrics"`
	Groups   Groups   `yaml:"groups"`
	Audit    Audit    `yaml:"audit"`
	Mail     Mail     `yaml:"mail"`

	Lifecycle Lifecycle `yaml:"lifecycle"`
}

// Engine says where dockerd listens, for root only.
type Engine struct {
	Host string `yaml:"host"` // unix:///path
}

// Gateway says where clients find the Docker API.
type Gateway struct {
	Listen string `yaml:"listen"` // unix:///path
	Doors  bool   `yaml:"doors"`  // containers may have sockets that speak for their owners
}

// Providers of GPUs.
const (
	NVML = "nvml" // the real driver
	Sim  = "sim"  // simulated devices
)

// Ways driver libraries get into containers.
const (
	LibrariesAuto = "auto" // cdi where the engine has it, else hook; none for sim
	LibrariesCDI  = "cdi"
	LibrariesHook = "hook"
	LibrariesNone = "none"
)

// GPU chooses the driver.
type GPU struct {
	Provider  string `yaml:"provider"`  // nvml or sim
	Libraries string `yaml:"libraries"` // auto, cdi, hook or none
	Sim       SimGPU `yaml:"sim"`
	MIG       MIG    `yaml:"mig"`
	Queue     Queue  `yaml:"queue"`

	// AllowPrograms are the paths of programs that may use a GPU without a claim
	// while others hold it: an X server.
	AllowPrograms []string `yaml:"allow_programs"`
}

func defaultGPU() GPU {
	return GPU{
		Provider: NVML, Libraries: LibrariesAuto, MIG: MIG{Mode: string(gpu.MIGStatic), Hysteresis: "1m"}, Queue: Queue{Hold: "10m", DockerWait: "0s"},
	}
}

// SimGPU is the simulated host.
type SimGPU struct {
	GPUs  []string         `yaml:"gpus"`  // model per card, "a100-80gb"
	MIG   map[int][]string `yaml:"mig"`   // card index → profiles
	Takes string           `yaml:"takes"` // each change of a card takes so long, "2s"; "": no time
}

// TakesFor returns how long a change of a card takes.
func (s SimGPU) TakesFor() time.Duration { return orZero(s.Takes) }

// mostTakes bounds gpu.sim.takes: who asks for a device waits no longer.
const mostTakes = time.Minute

func (s SimGPU) validate() error {
	if s.Takes == "" {
		return nil
	}
	takes, err := quantity.ParseDuration(s.Takes)
	if err == nil && takes > mostTakes {
		return fault("gpu.sim.takes", "%s is too long: the most is %s", s.Takes, quantity.FormatDuration(mostTakes))
	}
	if err != nil {
		return fault("gpu.sim.takes", "%s", err)
	}
	return nil
}

// Cgroup says below which group people's groups are made.
type Cgroup struct {
	Parent string `yaml:"parent"` // auto, or a name such as /ds01 or ds01.slice
}

// Auto is the word for "find out".
const Auto = "auto"

// Images names what is used when nothing is asked for, and where images may
// come from and go to.
type Images struct {
	Default    string   `yaml:"default"`
	Registries []string `yaml:"registries"` // hosts, docker.io for Docker's own; empty: all
}

// Listen is a TCP address on this host.
type Listen struct {
	Listen string `yaml:"listen"`
}

// Groups names the Unix groups that carry each role.
type Groups struct {
	Docker   string `yaml:"docker"`
	GPU      string `yaml:"gpu"`
	Priority string `yaml:"priority"`
	Admin    string `yaml:"admin"`
}

// Roles returns the groups in account's words.
func (g Groups) Roles() account.RoleGroups {
	return account.RoleGroups{Docker: g.Docker, GPU: g.GPU, Priority: g.Priority, Admin: g.Admin}
}

// Default returns what applies where the file says nothing.
func Default() Config {
	return Config{
		Version:  1,
		Engine:   Engine{Host: "unix:///run/ds01/engine.sock"},
		Gateway:  Gateway{Listen: "unix:///run/docker.sock", Doors: true},
		GPU:      defaultGPU(),
		Cgroup:   Cgroup{Parent: Auto},
		Disk:     Disk{KeepFree: Auto},
		Networks: Networks{Pool: "10.192.0.0/12", Size: 26, PerPerson: 8},
		Ports:    Ports{Range: "20000-59999", PerPerson: 100, Addresses: []string{"127.0.0.1"}},
		Volumes:  Volumes{PerPerson: 64},
		Web:      Listen{Listen: "127.0.0.1:8801"},
		Metrics:  Listen{Listen: "127.0.0.1:9101"},
		Groups:   Groups{Docker: "docker-users", GPU: "gpu-users", Priority: "gpu-priority", Admin: "ds-admin"},
		Audit:    defaultAudit(),
		Mail:     Mail{User: "nobody"},

		Lifecycle: Lifecycle{Every: "30s"},
	}
}

// Decode reads ds01.yaml over Default. Unknown and repeated keys, a missing
// or other version, and values that can't work are errors of kind
// problem.ErrInvalid that name file and line where YAML knows it.
func Decode(name string, data []byte) (Config, error) {
	c := Default()
	c.Version = 0
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, invalid(name, yamlError(err, data))
	}
	var second any
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return Config{}, invalid(name, "more than one YAML document")
	}
	if c.Version != 1 {
		return Config{}, invalid(name, "version: 1 is missing; this ds01 reads version 1 only")
	}
	if err := c.validate(); err != nil {
		return Config{}, invalid(name, withLine(err, data))
	}
	return c, nil
}

func invalid(name, why string) error {
	return &problem.Error{
		What: "configuration " + name + " can't be used",
		Why:  problem.Because(problem.ErrInvalid, why),
		Next: "Correct the file; docs/admins/configuration.md lists every key.",
	}
}

func (c Config) validate() error {
	for _, s := range []struct{ key, value string }{{"engine.host", c.Engine.Host}, {"gateway.listen", c.Gateway.Listen}} {
		path, ok := strings.CutPrefix(s.value, "unix://")
		if !ok || !filepath.IsAbs(path) {
			return fault(s.key, "%q is not unix:///path", s.value)
		}
	}
	if c.Engine.Host == c.Gateway.Listen {
		return fault("gateway.listen", "it is the same socket as engine.host")
	}
	if !slices.Contains([]string{NVML, Sim}, c.GPU.Provider) {
		return fault("gpu.provider", "%q is neither nvml nor sim", c.GPU.Provider)
	}
	if !slices.Contains([]string{LibrariesAuto, LibrariesCDI, LibrariesHook, LibrariesNone}, c.GPU.Libraries) {
		return fault("gpu.libraries", "%q is not one of auto, cdi, hook, none", c.GPU.Libraries)
	}
	if c.GPU.Provider == Sim && len(c.GPU.Sim.GPUs) == 0 {
		return fault("gpu.sim.gpus", "name at least one model, such as a100-80gb")
	}
	for _, path := range c.GPU.AllowPrograms {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return fault("gpu.allow_programs", "%q is not the whole path of a program", path)
		}
	}
	if err := c.GPU.Sim.validate(); err != nil {
		return err
	}
	if err := c.GPU.MIG.validate(); err != nil {
		return err
	}
	if err := c.GPU.Queue.validate(); err != nil {
		return err
	}
	if err := c.validateReach(); err != nil {
		return err
	}
	for _, l := range []struct{ key, value string }{{"web.listen", c.Web.Listen}, {"metrics.listen", c.Metrics.Listen}} {
		if _, err := netip.ParseAddrPort(l.value); l.value != "" && err != nil {
			return fault(l.key, "%q is not address:port", l.value)
		}
	}
	for _, host := range c.Images.Registries {
		if !validRegistry.MatchString(host) {
			return fault("images.registries", "%q is no host, or host:port, of a registry", host)
		}
	}
	if p := c.Cgroup.Parent; p != Auto && !validParent.MatchString(p) {
		return fault("cgroup.parent", "%q is neither auto nor a name such as /ds01 or ds01.slice", p)
	}
	if err := c.Disk.validate(); err != nil {
		return err
	}
	if err := c.Audit.validate(); err != nil {
		return err
	}
	if err := c.Mail.validate(); err != nil {
		return err
	}
	if err := c.Lifecycle.validate(); err != nil {
		return err
	}
	return c.Groups.validate()
}

// A slice is one level: '-' would nest it.
var validParent = regexp.MustCompile(`^((/[a-zA-Z0-9_][a-zA-Z0-9_.-]*)+|[a-zA-Z0-9_]+\.slice)$`)

var validRegistry = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)

func (g Groups) validate() error {
	seen := map[string]string{}
	for _, r := range []struct{ key, name string }{
		{"groups.docker", g.Docker},
		{"groups.gpu", g.GPU},
		{"groups.priority", g.Priority},
		{"groups.admin", g.Admin},
	} {
		if r.name == "" {
			return fault(r.key, "name a Unix group")
		}
		if other, twice := seen[r.name]; twice {
			return fault(r.key, "it is the same group as %s, %q", other, r.name)
		}
		seen[r.name] = r.key
	}
	return nil
}

// Paths is where everything lies under one root.
type Paths struct {
	Config      string // …/etc/ds01/ds01.yaml
	Limits      string // …/etc/ds01/resource-limits.yaml
	Members     string // …/etc/ds01/groups, a folder of <group>.members
	Policy      string // …/etc/ds01/policy, a folder of *.rego
	Database    string // …/var/lib/ds01/ds01.db
	Lock        string // …/var/lib/ds01/ds01.lock
	RunDir      string // …/run/ds01
	APISocket   string // …/run/ds01/ds01.sock
	DeviceNodes string // …/run/ds01/dev
	DeviceLinks string // …/dev/char, the host's own
	Mounts      string // …/run/ds01/mnt
	Doors       string // …/run/ds01/doors
	Audit       string // …/var/log/ds01/audit.jsonl
	Engine      string // socket path of the engine
	Gateway     string // socket path of the gateway
}

// PathsUnder returns the paths below root; "" and "/" mean the host's own.
func PathsUnder(root string) Paths {
	at := func(p string) string { return filepath.Join("/", root, p) }
	return Paths{
		Config:      at("etc/ds01/ds01.yaml"),
		Limits:      at("etc/ds01/resource-limits.yaml"),
		Members:     at("etc/ds01/groups"),
		Policy:      at("etc/ds01/policy"),
		Database:    at("var/lib/ds01/ds01.db"),
		Lock:        at("var/lib/ds01/ds01.lock"),
		RunDir:      at("run/ds01"),
		APISocket:   at("run/ds01/ds01.sock"),
		DeviceNodes: at("run/ds01/dev"),
		DeviceLinks: at("dev/char"),
		Mounts:      at("run/ds01/mnt"),
		Doors:       at("run/ds01/doors"),
		Audit:       at("var/log/ds01/audit.jsonl"),
	}
}

// Sockets returns p with the sockets that c names, below root as well.
func (p Paths) Sockets(c Config, root string) Paths {
	p.Engine = filepath.Join("/", root, strings.TrimPrefix(c.Engine.Host, "unix://"))
	p.Gateway = filepath.Join("/", root, strings.TrimPrefix(c.Gateway.Listen, "unix://"))
	return p
}
