// Package takeover decides which steps put ds01 before a host's Docker engine
// and which take it away again: from what is on the host to a list of steps,
// each of which says what it changes. It looks at nothing and changes nothing.
package takeover

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"ds01.dev/ds01/internal/apitype"
)

// A Kind says what is at a path.
type Kind string

// Kinds of what is at a path.
const (
	Absent  Kind = ""
	Regular Kind = "file"
	Symlink Kind = "link"
	Other   Kind = "other" // a folder, a device, …
)

// A File is what is, or is to be, at a path.
type File struct {
	Kind   Kind   `json:"kind,omitempty"`
	Mode   uint32 `json:"mode,omitempty"` // permissions of a regular file
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
	Sum    string `json:"sum,omitempty"`    // SHA-256 of a regular file's content, in hex
	Target string `json:"target,omitempty"` // of a link

	Text []byte `json:"-"` // a regular file's content, nil where it isn't shown: a program
	From string `json:"-"` // where the content is to be copied from if Text is nil
}

// Content returns a file with this content, root's and readable by all.
func Content(text []byte) File {
	sum := sha256.Sum256(text)
	return File{Kind: Regular, Mode: 0o644, Sum: hex.EncodeToString(sum[:]), Text: text}
}

// Link returns a link.
func Link(target string) File { return File{Kind: Symlink, Target: target} }

// Same reports whether two files can't be told apart by who reads them.
func (f File) Same(other File) bool {
	return f.Kind == other.Kind && f.Mode == other.Mode && f.UID == other.UID && f.GID == other.GID &&
		f.Sum == other.Sum && f.Target == other.Target
}

// A Verb is what a step does.
type Verb string

// Verbs of steps. Put writes, links or removes what is at a path; the checks
// change nothing, and what they miss ends the installation.
const (
	Put        Verb = "put"         // Path becomes Then
	RemoveDir  Verb = "remove-dir"  // Path, if it is empty
	AddGroup   Verb = "add-group"   // Group
	DropGroup  Verb = "drop-group"  // Group
	Join       Verb = "join"        // User joins Group
	Leave      Verb = "leave"       // User leaves Group
	Settle     Verb = "settle"      // the files of accounts become those of before, where they say the same
	ReadUnits  Verb = "read-units"  // systemd reads its unit files again
	Start      Verb = "start"       // Unit
	Stop       Verb = "stop"        // Unit
	Reload     Verb = "reload"      // Unit
	CheckLive  Verb = "check-live"  // the engine lets containers run on while it restarts
	CheckMoved Verb = "check-moved" // the engine answers at Path, and what ran runs
	CheckDs01  Verb = "check-ds01"  // 'ds01 doctor' finds nothing that fails
	CheckRun   Verb = "check-run"   // User gets a container through the gateway, and nothing at the engine's socket

	AddUser       Verb = "add-user"       // User, of the system's, with a group of that name
	DropUser      Verb = "drop-user"      // User
	SettleUsers   Verb = "settle-users"   // Settle, of what 'ds01 remap' kept
	CheckEmpty    Verb = "check-empty"    // the engine has no container
	CheckRemapped Verb = "check-remapped" // the engine answers at Path, and remaps user namespaces
	CheckPlain    Verb = "check-plain"    // the engine answers at Path, and doesn't
	TidyNetworks  Verb = "tidy-networks"  // those that ds01 made when the engine had this folder before
	GiveVolumes   Verb = "give-volumes"   // back to whom they are named after
	CopyImages    Verb = "copy-images"    // Images, of the folder that the engine has left to the one that it has now
)

// A Step is one change of the host.
type Step struct {
	Do    Verb   `json:"do"`
	Path  string `json:"path,omitempty"`
	Unit  string `json:"unit,omitempty"`
	Group string `json:"group,omitempty"`
	User  string `json:"user,omitempty"`
	Now   File   `json:"now,omitzero"`  // what is at Path
	Then  File   `json:"then,omitzero"` // what Path becomes
	Why   string `json:"why,omitempty"`
	Diff  string `json:"diff,omitempty"` // unified, of a Put of text

	Images []Image `json:"images,omitempty"` // of CopyImages, where they are known before
}

// A Plan is what is to be done, in order, and what an administrator should
// know about it.
type Plan struct {
	Steps []Step   `json:"steps"`
	Notes []string `json:"notes"`
}

func (p *Plan) add(s Step) { p.Steps = append(p.Steps, s) }

// put adds a step where Path isn't as it shall be.
func (p *Plan) put(path string, now, then File, why string) {
	if now.Same(then) {
		return
	}
	s := Step{Do: Put, Path: path, Now: now, Then: then, Why: why}
	if now.readable() && then.readable() {
		s.Diff = Diff(path, now.Text, then.Text)
	}
	p.add(s)
}

// readable reports whether a diff can show it.
func (f File) readable() bool {
	return f.Kind == Absent || f.Kind == Regular && (f.Text != nil || f.Sum == Content(nil).Sum)
}

// A Unit is what systemd tells about one.
type Unit struct {
	Loaded   bool     // it has a file
	Active   bool     // it runs, or is on its way to
	KillMode string   // of a service: what ends with it
	Command  []string // of a service: its program's words, as they run or will
	Listens  []string // of a socket: paths
	Needed   []string // active units that end when it is stopped
}

// A Container is one that the engine has.
type Container struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	PID     int      `json:"pid,omitempty"` // 0: it doesn't run
	Owner   string   `json:"owner,omitempty"`
	Ours    bool     `json:"ours,omitempty"` // ds01 made it
	Sources []string `json:"-"`              // what of the host is mounted in it
}

// An Engine is what a running engine tells.
type Engine struct {
	Driver      string // "systemd" or "cgroupfs": who makes control groups
	LiveRestore bool   // containers run on while it restarts
	Swarm       bool   // it is part of a swarm
	Remapped    bool   // root in a container is nobody on the host
	DataRoot    string // where it keeps images and containers
	Containers  []Container
}

// Running returns the containers that run.
func (e *Engine) Running() []Container {
	if e == nil {
		return nil
	}
	var running []Container
	for _, c := range e.Containers {
		if c.PID > 0 {
			running = append(running, c)
		}
	}
	return running
}

// Facts are what is on the host.
type Facts struct {
	Files   map[string]File     // by path; what isn't there is Absent
	Docker  Unit                // docker.service
	Socket  Unit                // docker.socket
	Ds01    Unit                // ds01.service
	Engine  *Engine             // nil: it doesn't answer
	At      string              // where it answers, a path
	Groups  map[string][]string // members of the groups that exist, here or in a directory
	Members []string            // of the host's own group docker
	Checks  []apitype.Check     // what 'ds01 doctor' says of this host by itself
	Before  *Manifest           // nil: nothing is installed, nor was begun
	Remap   *Manifest           // of 'ds01 remap'; nil: it wasn't begun, or was taken back
	User    bool                // there is an account Remapper
	Stored  *Stored             // nil: it wasn't asked for, or the engine doesn't answer
}

// unfinished reports whether an installation was cut off: what it has changed
// may not have taken effect.
func (f Facts) unfinished() bool { return f.Before != nil && !f.Before.Whole }

// A Touched path is one that an installation changes.
type Touched struct {
	Path   string `json:"path"`
	Before File   `json:"before"`
	After  File   `json:"after,omitzero"`
	Edited bool   `json:"edited,omitempty"` // somebody changed it between two installations
}

// A Moved member was taken out of the group docker.
type Moved struct {
	User   string   `json:"user"`
	Joined []string `json:"joined"` // groups that took their place
}

// Folders of what a host was like before ds01, and before the user namespaces of its
// engine were switched; a file in each has the manifest.
const (
	InstallFolder = "/var/lib/ds01/install"
	RemapFolder   = "/var/lib/ds01/remap"
	ManifestFile  = "manifest.json"
)

// A Manifest is what an installation keeps to be taken back. It is written
// before anything is changed.
type Manifest struct {
	Version  int         `json:"version"` // 1
	Began    time.Time   `json:"began"`
	Whole    bool        `json:"whole"`            // the installation came to its end
	Touched  []Touched   `json:"touched"`          // in the order of the changes
	Folders  []string    `json:"folders"`          // made, those above first
	Groups   []string    `json:"groups"`           // made
	Moved    []Moved     `json:"moved"`            //
	Accounts []Touched   `json:"accounts"`         // the files that groups are in
	Running  []Container `json:"running"`          // when it began
	Engine   string      `json:"engine"`           // the engine's new socket, a path
	Started  bool        `json:"started"`          // docker.service ran before
	Users    []string    `json:"users,omitempty"`  // made
	Images   []string    `json:"images,omitempty"` // ids of those that are in the folder of before 'ds01 remap'
}

// touched returns what the manifest says of a path.
func (m *Manifest) touched(path string) (Touched, bool) {
	if m == nil {
		return Touched{}, false
	}
	for _, t := range m.Touched {
		if t.Path == path {
			return t, true
		}
	}
	return Touched{}, false
}
