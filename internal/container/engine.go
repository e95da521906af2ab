package container

import (
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A NotAskedError is one before which the engine was asked for nothing.
type NotAskedError struct{ error }

// NotAsked makes one of err.
func NotAsked(err error) error { return NotAskedError{err} }

// Unwrap returns what kept from asking.
func (n NotAskedError) Unwrap() error { return n.error }

// EngineInfo is what the engine tells about itself and its host.
type EngineInfo struct {
	Version       string // "20.10.24"
	API           string // newest API version it speaks, "1.41"
	ID            string // the engine's own identity
	DataRoot      string // where it keeps images and containers
	Remapped      bool   // root in a container is nobody on the host
	RemapBase     int    // host id of container id 0, 0 when not remapped
	RemapSize     int    // ids in the range, 0 when not remapped
	CgroupDriver  string // "cgroupfs" or "systemd"
	CgroupVersion string // "1" or "2"
	Runtime       string // what runs containers that ask for no runtime
	CPUs          quantity.CPUs
	Memory        quantity.ByteSize
	CDI           bool   // it can inject CDI devices
	CDISpec       bool   // and NVIDIA's specification is where it looks
	Hook          bool   // NVIDIA's hook is installed
	AtStart       bool   // it has ds01's runtime, which gives containers their devices when they start
	Runc          string // version of its runc, "1.1.5+ds1"
	Bridge        bool   // it makes networks
	Storage       string // its storage driver, "overlay2"
	Containerd    bool   // containerd keeps its images
}

// EngineSetup is what an administrator may have set up at the engine otherwise
// than ds01 leans on.
type EngineSetup struct {
	Bridge      bool     // it makes networks, and has a bridge of its own
	Apart       bool     // nobody on that bridge reaches anybody else there
	OnBridge    []string // containers that run on it, by their names at the engine, in order
	LiveRestore bool     // containers run on while it restarts
	Swarm       bool     // it is part of a swarm
}

// Image is what an image says about containers made of it.
type Image struct {
	ID         string   // "sha256:…"
	Names      []string // its tags and digests
	Parent     string   // id of the image it was made from, "" where the engine doesn't know
	CreatedAt  time.Time
	Size       int64 // bytes, with its parents'
	User       string
	WorkingDir string
	Env        []string // "NAME=value"
	Labels     map[string]string
	Makes      []string // paths that the engine makes in each container: its working directory and volumes
	// Volumes are the paths that get a volume unless something else is mounted
	// there.
	Volumes []string
	Exposed []string // ports it listens on, "80/tcp"
	Probes  Probes
	// Triggers are instructions that every build on the image begins with.
	Triggers []string
}

// Probes are the pauses between an image's health checks, while a container
// begins and after that; zero is the engine's own.
type Probes struct{ Interval, StartInterval time.Duration }

// Kinds of things that change at the engine.
const (
	KindContainer = "container"
	KindNetwork   = "network"
	KindVolume    = "volume"
	KindImage     = "image"
)

// Actions are what events tell of. Of others, such as each command that looks after
// a container's health, nothing is heard.
func Actions() []string {
	return []string{
		"create", "start", "restart", "pause", "unpause", "rename", "update", "oom", "die", "destroy", // of a container, a volume, a network
		"tag", "load", // of an image; a load tells of no tag
	}
}

// An Event is a change of one container, network, volume or image at the
// engine.
type Event struct {
	Kind   string // KindContainer, …
	ID     string // full id, or the name of a volume
	Action string // create, start, die, destroy, oom, …
	Claim  string // the claim its label names, or ""; it grants nothing
}

// A File is one file or directory written into a container's layer.
type File struct {
	Path string // absolute
	Dir  bool
	Data []byte
	Mode int64
	UID  int
	GID  int
}
