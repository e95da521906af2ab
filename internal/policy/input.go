// Package policy decides what a site's own rules are asked and how their answer
// is read: the input document, version 1, and the strict reading of what they
// deny and tighten. It evaluates no rule and knows no rule language.
package policy

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/quantity"
)

// Version is the version of Input. A field is only ever added to a version.
const Version = 1

// An Action is what is about to be done.
type Action string

// Actions that are judged. A container is judged when it is created, and again
// at each start and update.
const (
	ContainerCreate Action = "container.create"
	ContainerStart  Action = "container.start"
	ContainerUpdate Action = "container.update"
	ImagePull       Action = "image.pull"
	ImagePush       Action = "image.push"
	ImageBuild      Action = "image.build"
)

// Actions returns every action.
func Actions() []Action {
	return []Action{ContainerCreate, ContainerStart, ContainerUpdate, ImagePull, ImagePush, ImageBuild}
}

// Unlimited is the amount of what has no limit: more than any other, so that
// rules can compare it.
const Unlimited = math.MaxInt64

// Input is what rules see as input. Every field is always there, so that a
// rule never falls silent for the want of one. The doc tags are the page
// docs/admins/policy.md.
type Input struct {
	Version int     `json:"version" doc:"1"`
	Action  Action  `json:"action" doc:"what is about to be done: container.create, container.start, container.update, image.pull, image.push or image.build"`
	User    User    `json:"user"`
	Now     Now     `json:"now"`
	Request Request `json:"request"`
	Limits  Limits  `json:"limits"`
}

// User is whose container it is, or who moves the image.
type User struct {
	Name        string   `json:"name" doc:"login name of the container's owner, or of who pulls, pushes or builds"`
	UID         int      `json:"uid" doc:"number of the account"`
	Groups      []string `json:"groups" doc:"Unix groups, read at this moment"`
	LimitsGroup string   `json:"limits_group" doc:"the group of the limits file that applies, empty where only defaults do"`
	Admin       bool     `json:"admin" doc:"administers this host; rules bind administrators too unless they say otherwise"`
}

// Now is the time, given by ds01 so that rules need no clock.
type Now struct {
	RFC3339 string `json:"rfc3339" doc:"UTC, such as 2030-05-17T12:00:00Z"`
	Nanos   int64  `json:"ns" doc:"nanoseconds since 1970, as OPA's time functions take"`
	Date    string `json:"date" doc:"in the host's time zone, as everything below: 2030-05-17"`
	Weekday string `json:"weekday" doc:"Monday to Sunday"`
	Hour    int    `json:"hour" doc:"0 to 23"`
	Minute  int    `json:"minute" doc:"0 to 59"`
	Zone    string `json:"zone" doc:"offset from UTC, such as +02:00"`
}

// Request is what ds01 has decided: what the engine would be sent, in the words
// of the docker command line.
type Request struct {
	Name            string            `json:"name" doc:"the container's name, as its owner calls it"`
	Interface       string            `json:"interface" doc:"docker, compose, devcontainer, atomic (container create), orchestration (container deploy) or api; a hint"`
	Image           Image             `json:"image"`
	Command         []string          `json:"command" doc:"entrypoint and command, where they are given"`
	User            string            `json:"user" doc:"--user"`
	EnvKeys         []string          `json:"env_keys" doc:"names of the variables that are set; values are never shown"`
	Labels          map[string]string `json:"labels" doc:"labels, ds01's own among them"`
	GPUs            []GPU             `json:"gpus" doc:"granted devices"`
	Mounts          []Mount           `json:"mounts" doc:"directories and files of the host"`
	Volumes         []string          `json:"volumes" doc:"names of volumes"`
	Ports           []Port            `json:"ports" doc:"published ports"`
	Networks        []string          `json:"networks" doc:"as their owner calls them: bridge is the person's default network, none is no network, container:NAME is another container's"`
	Memory          int64             `json:"memory" doc:"bytes; 9223372036854775807 where nothing limits it, as for all amounts here"`
	CPUs            float64           `json:"cpus" doc:"such as 1.5"`
	PidsLimit       int64             `json:"pids_limit" doc:"processes"`
	ShmSize         int64             `json:"shm_size" doc:"bytes of /dev/shm"`
	ReadOnly        bool              `json:"read_only" doc:"--read-only"`
	NoNewPrivileges bool              `json:"no_new_privileges" doc:"--security-opt no-new-privileges"`
	CapDrop         []string          `json:"cap_drop" doc:"dropped capabilities, ALL for all"`
	Restart         string            `json:"restart" doc:"restart policy: no, always, unless-stopped, on-failure, on-failure:N"`
	AutoRemove      bool              `json:"auto_remove" doc:"--rm"`
	Build           Build             `json:"build"`
}

// Build is an image that is to be made of a Dockerfile.
type Build struct {
	Builder string   `json:"builder" doc:"classic or buildkit; empty where nothing is built"`
	Tags    []string `json:"tags" doc:"names that the image gets, as they are written"`
	Target  string   `json:"target" doc:"--target"`
	ArgKeys []string `json:"arg_keys" doc:"names of --build-arg; values are never shown"`
	Bases   []Image  `json:"bases" doc:"images that are built on or copied from"`
}

// The builders.
const (
	Classic  = "classic"
	BuildKit = "buildkit"
)

// Image is the image that a request is about.
type Image struct {
	Asked      string `json:"asked" doc:"as it was written"`
	Registry   string `json:"registry" doc:"host of the registry that its name speaks of, docker.io for Docker Hub; empty for a person's own image"`
	Repository string `json:"repository" doc:"the name without registry, tag and digest: library/busybox"`
	Tag        string `json:"tag" doc:"latest where none was written; empty beside a digest, and for a pull of all tags"`
	Digest     string `json:"digest" doc:"sha256:…, where the name has one"`
	Personal   bool   `json:"personal" doc:"built, loaded, imported, committed or named by a person, or without a name"`
}

// GPU is one granted device.
type GPU struct {
	Model   string  `json:"model" doc:"such as NVIDIA A100-SXM4-80GB"`
	Profile string  `json:"profile" doc:"full, or a MIG profile such as 1g.10gb"`
	Share   float64 `json:"share" doc:"share of a whole card"`
}

// Mount is one directory or file of the host.
type Mount struct {
	Source   string `json:"source" doc:"path on the host"`
	Target   string `json:"target" doc:"path in the container"`
	ReadOnly bool   `json:"read_only" doc:"can't be written"`
}

// Port is one published port.
type Port struct {
	Container int    `json:"container" doc:"port in the container"`
	Protocol  string `json:"protocol" doc:"tcp or udp"`
	Host      int    `json:"host" doc:"port of the host"`
	Address   string `json:"address" doc:"address of the host"`
}

// Limits are what the person may have at most.
type Limits struct {
	Memory         int64   `json:"memory" doc:"bytes per container"`
	CPUs           float64 `json:"cpus" doc:"per container"`
	PidsLimit      int64   `json:"pids_limit" doc:"processes per container"`
	ShmSize        int64   `json:"shm_size" doc:"bytes per container"`
	GPUs           int64   `json:"gpus" doc:"devices over all containers"`
	GPUsPerRequest int64   `json:"gpus_per_container" doc:"devices per container"`
	Containers     int64   `json:"containers" doc:"containers"`
}

// Facts are what is known of a container beside its body.
type Facts struct {
	Name, Interface string
	Image           Image
	Devices         []gpu.Device
	Mounts          []container.Mount
	Ports           []port.Port
	Volumes         []string
	Networks        []string
	Restart         container.RestartPolicy
}

// New returns the input about an action at a moment, whose location is the
// host's zone.
func New(action Action, who account.Account, admin bool, l limits.Limits, r Request, now time.Time) Input {
	return Input{
		Version: Version, Action: action,
		User: User{Name: who.Name, UID: who.UID, Groups: some(who.GroupNames()), LimitsGroup: l.Group, Admin: admin},
		Now: Now{
			RFC3339: now.UTC().Format(time.RFC3339), Nanos: now.UnixNano(), Date: now.Format(time.DateOnly),
			Weekday: now.Weekday().String(), Hour: now.Hour(), Minute: now.Minute(), Zone: now.Format("-07:00"),
		},
		Request: r.filled(),
		Limits: Limits{
			Memory: most(l.Memory), CPUs: cpus(most(l.MaxCPUs)), PidsLimit: most(l.PidsLimit), ShmSize: most(l.ShmSize),
			GPUs: most(l.MaxDevices), GPUsPerRequest: most(l.MaxGPUsPerContainer), Containers: most(l.MaxContainers),
		},
	}
}

// RequestOf describes a reviewed or stored body.
func RequestOf(b admission.Create, f Facts) Request {
	h := b.HostConfig
	r := Request{
		Name: f.Name, Interface: f.Interface, Image: f.Image, Command: slices.Concat(b.Entrypoint, b.Cmd), User: b.User,
		EnvKeys: keys(b.Env), Labels: maps.Clone(b.Labels), Volumes: f.Volumes, Networks: f.Networks,
		Memory: h.Memory, CPUs: cpus(h.NanoCPUs), ShmSize: h.ShmSize,
		ReadOnly: h.ReadonlyRootfs, NoNewPrivileges: b.GainsNothing(), CapDrop: bare(h.CapDrop),
		Restart: f.Restart.String(), AutoRemove: h.AutoRemove,
	}
	if h.PidsLimit != nil {
		r.PidsLimit = *h.PidsLimit
	}
	for _, d := range f.Devices {
		r.GPUs = append(r.GPUs, GPU{Model: d.Model, Profile: d.Profile, Share: d.Share.Float()})
	}
	for _, m := range f.Mounts {
		r.Mounts = append(r.Mounts, Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	for _, p := range f.Ports {
		r.Ports = append(r.Ports, Port{Container: p.Container, Protocol: p.Protocol, Host: p.Host, Address: p.Address})
	}
	return r
}

// filled returns r without nil lists, and with amounts that compare.
func (r Request) filled() Request {
	r.Command, r.EnvKeys, r.GPUs, r.Mounts = some(r.Command), some(r.EnvKeys), some(r.GPUs), some(r.Mounts)
	r.Volumes, r.Ports, r.Networks, r.CapDrop = some(r.Volumes), some(r.Ports), some(r.Networks), some(r.CapDrop)
	r.Build.Tags, r.Build.ArgKeys, r.Build.Bases = some(r.Build.Tags), some(r.Build.ArgKeys), some(r.Build.Bases)
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	for _, n := range []*int64{&r.Memory, &r.PidsLimit} {
		if *n <= 0 {
			*n = Unlimited
		}
	}
	if r.CPUs <= 0 {
		r.CPUs = cpus(Unlimited)
	}
	if r.ShmSize <= 0 {
		r.ShmSize = admission.DefaultShm
	}
	return r
}

func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func most[T ~int | ~int64](l quantity.Limit[T]) int64 {
	if l.Unlimited {
		return Unlimited
	}
	return int64(l.Value)
}

// cpus returns billionths as a number of CPUs.
func cpus(nanos int64) float64 { return float64(nanos) / float64(quantity.OneCPU) }

// keys returns the names of variables, each once.
func keys(env []string) []string {
	names := make([]string, len(env))
	for i, e := range env {
		names[i], _, _ = strings.Cut(e, "=")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bare returns capabilities without the CAP_ that clients may write.
func bare(capabilities []string) []string {
	all := make([]string, len(capabilities))
	for i, c := range capabilities {
		all[i] = strings.TrimPrefix(c, "CAP_")
	}
	return all
}
