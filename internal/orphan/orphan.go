// Package orphan decides what on a host was left over: what ds01, the engine or
// AIME's mlc made for a container that isn't there. It looks at nothing itself and
// takes nothing away.
package orphan

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/volume"
)

// A Kind is what an orphan is.
type Kind string

// Kinds, in the order in which they are told.
const (
	Claim         Kind = "claim"
	Grant         Kind = "device grant"
	Mount         Kind = "mount"
	Door          Kind = "door"
	Group         Kind = "control group"
	Network       Kind = "network"
	NetworkRecord Kind = "network record"
	Volume        Kind = "volume"
	VolumeRecord  Kind = "volume record"
	Container     Kind = "container"
	Image         Kind = "image"
)

// An Orphan is one thing that was left over.
type Orphan struct {
	Kind   Kind
	Object string // by which it is found again
	UID    int    // whose it was; -1: nobody knows
	Why    string
	Fix    string // what takes it away; "": nothing may, by itself
	Next   string // what to do by hand then
}

// Facts are what there is. Whatever may be in the making must have been read in
// this order: leftovers, the engine, ds01's records. Then what was begun
// meanwhile has its record.
type Facts struct {
	Mounts []string // below ds01's own folder: "<claim>/<number>"
	Given  []string // ids of containers that a file says what to give to
	Doors  []string // claims with a socket in ds01's folder at which nobody listens
	Groups []Level  // people's and those in them

	Containers []container.Observed // the engine's: id, name and state
	Seen       []container.Observed // with mounts and networks, as they were last looked at
	Networks   []network.Observed
	Volumes    []string
	Images     []string // by name

	Records     []container.Record
	OwnNetworks []network.Record
	OwnVolumes  []volume.Record
	Quarantined []container.Observed // the engine's of which ds01 has no record
	KnowsNot    map[int]bool         // uids that the host has no account for
	Now         time.Time
}

// A Level is a person's control group, "u1001", or one in it, "u1001/<name>".
type Level struct {
	Path      string
	Processes int // in it and below
	Children  int
}

// grace is how long something may be in the making.
const grace = time.Minute

// Find returns what was left over, by kind and object.
func Find(f Facts) []Orphan {
	all := slices.Concat(
		f.claims(), f.grants(), f.mounts(), f.doors(), f.groups(), f.networks(), f.networkRecords(), f.volumes(), f.volumeRecords(), f.mlc())
	order := []Kind{Claim, Grant, Mount, Door, Group, Network, NetworkRecord, Volume, VolumeRecord, Container, Image}
	slices.SortStableFunc(all, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(a.Object, b.Object))
	})
	return all
}

func (f Facts) record(claim string) bool {
	return slices.ContainsFunc(f.Records, func(r container.Record) bool { return r.ID == claim })
}

// engineHas reports whether there is a container with that id.
func (f Facts) engineHas(id string) bool {
	return slices.ContainsFunc(f.Containers, func(o container.Observed) bool { return o.ID == id })
}

// claims are those whose container has gone, and the engine didn't say.
func (f Facts) claims() (all []Orphan) {
	for _, r := range f.Records {
		pending := r.State == gpu.Pending || r.ContainerID == ""
		if pending || f.engineHas(r.ContainerID) || f.Now.Sub(r.CreatedAt) < grace {
			continue // a pending one is settled by the reconciler, which asks for its label
		}
		all = append(all, Orphan{
			Kind: Claim, Object: r.ID, UID: r.UID, Why: fmt.Sprintf("of %s's container %s, which the engine doesn't have", r.Login, r.Name),
			Fix: "the record goes, and what it holds becomes free",
		})
	}
	return all
}

func (f Facts) grants() (all []Orphan) {
	for _, id := range f.Given {
		if f.engineHas(id) || slices.ContainsFunc(f.Records, func(r container.Record) bool { return r.ContainerID == id }) {
			continue // where ds01 doesn't know it, what it was given counts as taken
		}
		all = append(all, Orphan{Kind: Grant, Object: id, UID: -1, Why: "of a container that the engine doesn't have", Fix: "the file goes"})
	}
	return all
}

// claimID is how claims are called. What else lies among their mounts is there for
// a moment, and may be a container's own files.
var claimID = regexp.MustCompile(`^[0-9a-f]{16}$`)

func (f Facts) mounts() (all []Orphan) {
	for _, m := range f.Mounts {
		if claim := filepath.Dir(m); !claimID.MatchString(claim) || f.record(claim) {
			continue
		}
		o := Orphan{Kind: Mount, Object: m, UID: -1, Why: "of a claim that ds01 doesn't know", Fix: "it is unmounted, and its folder goes"}
		if user := f.uses(func(o container.Observed) bool {
			return slices.ContainsFunc(o.Mounts, func(in container.Mounted) bool { return strings.HasSuffix(in.Source, "/"+m) })
		}); user != "" {
			o.Fix, o.Next = "", "Container "+user+" is made with it: adopt that ('ds01 container adopt'), or remove it at the engine's own socket."
		}
		all = append(all, o)
	}
	return all
}

// uses returns the name of a container of which yes says so, or "".
func (f Facts) uses(yes func(container.Observed) bool) string {
	if i := slices.IndexFunc(f.Seen, yes); i >= 0 {
		return f.Seen[i].Name
	}
	return ""
}

func (f Facts) doors() (all []Orphan) {
	for _, claim := range f.Doors {
		if !f.record(claim) {
			all = append(all, Orphan{Kind: Door, Object: claim, UID: -1, Why: "of a claim that ds01 doesn't know", Fix: "the socket goes"})
		}
	}
	return all
}

var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// groups are those of containers that have gone, and of people who have. A
// person's own stays while they have an account: it carries their limits, and
// what starts in a moment must find it.
func (f Facts) groups() (all []Orphan) {
	for _, g := range f.Groups {
		person, name, inside := strings.Cut(g.Path, "/")
		uid, err := strconv.Atoi(strings.TrimPrefix(person, "u"))
		if err != nil || person != "u"+strconv.Itoa(uid) {
			continue
		}
		o := Orphan{Kind: Group, Object: g.Path, UID: uid, Fix: "the empty group goes"}
		switch {
		case !inside && f.KnowsNot[uid] && g.Children == 0 && !f.owns(uid):
			o.Why = fmt.Sprintf("the host has no account with uid %d any more", uid)
		case inside && containerID.MatchString(name) && !f.engineHas(name):
			o.Why = "of a container that the engine doesn't have"
		case inside && strings.HasPrefix(name, "narrow_") && g.Processes+g.Children == 0:
			o.Why = "of builds that have ended"
		default:
			continue
		}
		if g.Processes > 0 {
			o.Fix, o.Next = "", fmt.Sprintf("%d processes are in it: see what they are (cgroup.procs), and end them.", g.Processes)
		}
		all = append(all, o)
	}
	return all
}

func (f Facts) owns(uid int) bool {
	return slices.ContainsFunc(f.Records, func(r container.Record) bool { return r.UID == uid })
}

// networks are those that are called as ds01 calls them and that no record names.
func (f Facts) networks() (all []Orphan) {
	for _, n := range f.Networks {
		_, uid, ours := account.SplitEngineName(n.Name)
		if !ours || slices.ContainsFunc(f.OwnNetworks, func(r network.Record) bool { return r.EngineName == n.Name || r.ID == n.ID }) {
			continue
		}
		o := Orphan{Kind: Network, Object: n.Name, UID: uid, Why: "ds01 has no record of it", Fix: "the network goes"}
		if user := f.uses(func(o container.Observed) bool {
			_, named := o.Networks[n.Name]
			return named || slices.Contains(values(o.Networks), n.ID)
		}); user != "" {
			o.Fix, o.Next = "", "Container "+user+" is on it: remove that first."
		}
		all = append(all, o)
	}
	return all
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func (f Facts) networkRecords() (all []Orphan) {
	for _, r := range f.OwnNetworks {
		there := slices.ContainsFunc(f.Networks, func(n network.Observed) bool { return n.ID == r.ID || n.Name == r.EngineName })
		if !there && f.Now.Sub(r.CreatedAt) >= grace {
			all = append(all, Orphan{Kind: NetworkRecord, Object: r.EngineName, UID: r.UID, Why: "the engine doesn't have the network", Fix: "the record goes, and its addresses become free"})
		}
	}
	return all
}

// volumes hold somebody's data, so nobody takes one away for them.
func (f Facts) volumes() (all []Orphan) {
	for _, name := range f.Volumes {
		_, uid, ours := account.SplitEngineName(name)
		if ours && !slices.ContainsFunc(f.OwnVolumes, func(r volume.Record) bool { return r.EngineName == name }) {
			all = append(all, Orphan{
				Kind: Volume, Object: name, UID: uid, Why: "ds01 has no record of it",
				Next: "Look what is in it; at the engine's own socket: docker volume rm " + name + ".",
			})
		}
	}
	return all
}

func (f Facts) volumeRecords() (all []Orphan) {
	for _, r := range f.OwnVolumes {
		if !slices.Contains(f.Volumes, r.EngineName) && f.Now.Sub(r.CreatedAt) >= grace {
			all = append(all, Orphan{Kind: VolumeRecord, Object: r.EngineName, UID: r.UID, Why: "the engine doesn't have the volume", Fix: "the record goes"})
		}
	}
	return all
}

// mlc finds what "mlc create" leaves where it is cut short: the container in which it
// prepares the image, without a label, and the image that it makes of that. Both
// look like what somebody might have made by hand, so that they are only told.
func (f Facts) mlc() (all []Orphan) {
	for _, o := range f.Quarantined {
		name, uid, ours := account.SplitEngineName(o.Name)
		if ours && !o.Running() && o.Labels[label.Login] == "" && o.Labels[label.UID] == "" {
			all = append(all, Orphan{
				Kind: Container, Object: o.Name, UID: uid, Why: fmt.Sprintf("an 'mlc create %s' that was cut short may have left it", name),
				Next: "If so, at the engine's own socket: docker rm " + o.Name + ".",
			})
		}
	}
	for _, reference := range f.Images {
		tag := reference[strings.LastIndex(reference, ":")+1:]
		name, uid, ours := account.SplitEngineName(tag)
		if ours && !slices.ContainsFunc(f.Containers, func(o container.Observed) bool { return o.Name == tag }) {
			all = append(all, Orphan{
				Kind: Image, Object: reference, UID: uid, Why: fmt.Sprintf("'mlc create %s' has made it, and there is no such container", name),
				Next: "If nobody needs it: docker image rm " + reference + ".",
			})
		}
	}
	return all
}
