// Package container knows a container as plain values: ds01's own record of
// it, and what the engine shows of it. It decides and does nothing.
package container

import (
	"slices"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/volume"
)

// A Record is ds01's own record of one container: who owns it, what it
// claims, what it was promised. The record, not the engine's labels, is the
// authority.
type Record struct {
	gpu.Claim
	Login     string      // owner's login name when it was made
	Image     string      // as the owner wrote it
	Interface string      // label.Docker, label.Atomic, …
	Origin    string      // label.Terminal, label.Cron, …; "": unknown
	Mounts    []Mount     // the owner's directories inside it
	Quota     QuotaRule   // how long devices are kept
	Waits     bool        // made by `container create`: ds01's own shell waits in it
	Restart   Restart     // when it is started again, and how often it was
	Ports     []port.Port // published at the host, fixed when it was made
	// AtStart tells that the engine has stored no device of it: it is given
	// what its claim holds at each start.
	AtStart bool
	// Asked is the request for devices, as gpu.ParseRequest reads it, of which a
	// start after they were given back may be granted others; "": the same ones.
	Asked string
	// Wishes are what the owner asked for of memory, processors and processes;
	// nil is unknown: then it is what the engine has stored.
	Wishes *Wishes
	// Killed is the last process of it that the kernel ended for want of memory,
	// since somebody has started it; nil: there was none.
	Killed *Kill
	// Lasts is the time that its owner has declared for one run of it: it is
	// stopped then, and others in the queue are let go first or not by it. 0: none.
	Lasts time.Duration
}

// AsksAgain reports whether the container, once its claim was released, asks
// for devices when it is started.
func (r Record) AsksAgain() bool { return r.Asked != "" || len(r.Devices) > 0 }

// A Mount is one of the owner's directories or files, made visible in the
// container. The engine is given HostPath; Source is opened again at each
// start.
type Mount struct {
	Source   string `json:"source"`    // the owner's path on the host
	Target   string `json:"target"`    // path in the container
	HostPath string `json:"host_path"` // root-owned path the engine binds
	ReadOnly bool   `json:"read_only,omitempty"`
	Alone    bool   `json:"alone,omitempty"` // what is mounted below Source is left out
	// The source's file system can't map ids: they are shown as they are, and
	// the container runs as its owner.
	Plain bool `json:"plain,omitempty"`
	// The Unix groups of the owner that the container was made with, where it
	// runs as the owner.
	Groups []int `json:"groups,omitempty"`
	// The container user the owner's files belong to inside; -1 until the
	// container's own files have told.
	ContainerUID int `json:"container_uid"`
	ContainerGID int `json:"container_gid"`
	// Not a file of the owner's: Source means the gateway's socket, in place of
	// which the container has one of its own, at which it speaks for its owner.
	Door bool `json:"door,omitempty"`
}

// AnyFiles reports whether mounts bring directories or files of the host into a
// container, and not only a door.
func AnyFiles(mounts []Mount) bool {
	return slices.ContainsFunc(mounts, func(m Mount) bool { return !m.Door })
}

// HasDoor reports whether the container has a socket at which it speaks for its
// owner.
func (r Record) HasDoor() bool {
	return slices.ContainsFunc(r.Mounts, func(m Mount) bool { return m.Door })
}

// Folders returns where on the host the owner's directories and files are
// mounted for the container.
func (r Record) Folders() []string {
	var all []string
	for _, m := range r.Mounts {
		if !m.Door {
			all = append(all, m.HostPath)
		}
	}
	return all
}

// A QuotaRule is how long a stopped or never started container keeps its
// devices. A negative duration means without end.
type QuotaRule struct {
	HoldAfterStop time.Duration `json:"hold_after_stop"`
}

// Workspace returns the host path at /workspace, or "".
func (r Record) Workspace() string {
	for _, m := range r.Mounts {
		if m.Target == "/workspace" {
			return m.Source
		}
	}
	return ""
}

// Plain reports whether the container runs as its owner because the ids of
// its mounts can't be mapped.
func (r Record) Plain() bool {
	return slices.ContainsFunc(r.Mounts, func(m Mount) bool { return m.Plain })
}

// Restarting reports whether the container has ended and is to be started
// again by ds01.
func (r Record) Restarting() bool {
	return !r.Restart.Due.IsZero() && (r.State == gpu.Held || r.State == gpu.Released)
}

// ComesBack reports whether a container that doesn't run is started again, or
// may be once its end is known.
func (r Record) ComesBack() bool {
	return r.Restarting() || r.State == gpu.Running && r.Restart.Policy.Wanted() && !r.Restart.Stopped
}

// HalfMade reports whether a pending claim's container needs more than the
// engine's create call: files of its owner's, or the numbers of its user. One
// that is found again after a crash can't be told from a whole one.
func (r Record) HalfMade() bool {
	return r.Waits || slices.ContainsFunc(r.Mounts, func(m Mount) bool { return m.ContainerUID < 0 })
}

// Slots returns the slots of the claim's devices, in order.
func (r Record) Slots() []string {
	slots := make([]string, len(r.Devices))
	for i, d := range r.Devices {
		slots[i] = d.Slot
	}
	return slots
}

// Observed is a container as the engine shows it.
type Observed struct {
	ID         string
	Name       string // without the leading slash
	Image      string
	ImageID    string // "sha256:…"
	State      string // created, running, paused, restarting, removing, exited, dead
	ExitCode   int
	PID        int // of its first process; 0: it doesn't run
	CreatedAt  time.Time
	StartedAt  time.Time // zero: never started
	FinishedAt time.Time // zero: never stopped
	Labels     map[string]string
	AutoRemove bool          // the engine removes it when it ends: docker run --rm
	Restart    RestartPolicy // the engine's own; no for what ds01 made
	Group      string        // the control group that it is to run below, as the engine was told
	AtStart    bool          // devices come to it at each start, and its configuration names none
	Hints      gpu.Hints     // whatever in its configuration names a GPU
	Mounts     []Mounted     // what of the host, or of a volume, is in it
	Volumes    []volume.Mounted
	ReadOnly   bool              // its own files can't be written to
	Layer      Layer             // its own files, zero where the engine keeps them in another way
	Given      map[string]string // files that the engine gives it, such as /etc/hosts: paths on the host by paths in it
	Networks   map[string]string // ids by name of those it is connected with, also where one has gone since
}

// A Layer is what a container's own files are made of, as the overlay file
// system takes it: directories whose names only root can change.
type Layer struct {
	Lower       []string // the image's, the topmost first
	Upper, Work string
	Merged      string // where the engine mounts it while the container runs
}

// Known reports whether there is one.
func (l Layer) Known() bool { return l.Upper != "" }

// A Mounted is one mount of a container as the engine shows it.
type Mounted struct {
	Source string // path on the host
	Target string // path in the container
}

// ClaimID returns the claim the container's label names, or "". It finds a
// container whose create call was not answered; it grants nothing.
func (o Observed) ClaimID() string { return o.Labels[label.Claim] }

// Running reports whether processes of the container can run: paused ones
// hold what they hold.
func (o Observed) Running() bool {
	return o.State == "running" || o.State == "paused" || o.State == "restarting"
}
