package admission

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
)

// A VolumeAsk is one volume wanted in the container.
type VolumeAsk struct {
	Name     string // as the owner calls it, "" for one that goes with the container
	Target   string // absolute and clean
	ReadOnly bool
	NoCopy   bool
	Subpath  string
	Labels   map[string]string // for a volume that isn't there yet
}

// A VolumeGrant is a volume that the container gets.
type VolumeGrant struct {
	VolumeAsk
	EngineName string // "" for one that goes with the container
}

// VolumeOptions is how a volume is mounted.
type VolumeOptions struct {
	NoCopy       bool              `json:"NoCopy,omitzero"`
	Labels       map[string]string `json:"Labels,omitzero"`
	DriverConfig DriverConfig      `json:"DriverConfig,omitzero"`
	Subpath      string            `json:"Subpath,omitzero"`
}

// DriverConfig is what keeps a volume.
type DriverConfig struct {
	Name    string `json:"Name,omitzero"`
	Options Unset  `json:"Options,omitzero"`
}

func (o *VolumeOptions) asks() bool {
	return o != nil && (o.NoCopy || o.Subpath != "" || len(o.Labels) > 0 || o.DriverConfig.Name != "" || o.DriverConfig.Options.asked != "")
}

// parseVolume reads the parts of "name:target[:options]".
func parseVolume(parts []string) (VolumeAsk, error) {
	m := MountPoint{Type: "volume", Source: parts[0], Target: parts[1], VolumeOptions: &VolumeOptions{}}
	if m.Source == "" {
		return VolumeAsk{}, refuse(problem.ErrInvalid, notCreated, "a mount has no source", "Write -v /home/you/DIR:/DIR or -v NAME:/DIR.")
	}
	if len(parts) == 3 {
		for option := range strings.SplitSeq(parts[2], ",") {
			switch option {
			case "ro":
				m.ReadOnly = true
			case "nocopy":
				m.VolumeOptions.NoCopy = true
			case "rw", "z", "Z", "": // labels mean nothing for what is one's own
			default:
				return VolumeAsk{}, denied(notCreated, fmt.Sprintf("option %q of a volume is not served", option), "ro and nocopy are.")
			}
		}
	}
	return readVolume(m)
}

func readVolume(m MountPoint) (VolumeAsk, error) {
	v := VolumeAsk{Name: m.Source, Target: path.Clean(m.Target), ReadOnly: m.ReadOnly}
	if v.Name != "" {
		if err := checkVolumeName(notCreated, v.Name); err != nil {
			return v, err
		}
	}
	if m.BindOptions != nil && m.BindOptions.Propagation != "" {
		return v, denied(notCreated, "a volume has no mount propagation", "Leave it away.")
	}
	o := m.VolumeOptions
	if o == nil {
		return v, nil
	}
	if err := checkDriver(notCreated, o.DriverConfig.Name); err != nil {
		return v, err
	}
	if err := checkSubpath(o.Subpath); err != nil {
		return v, err
	}
	v.NoCopy, v.Subpath, v.Labels = o.NoCopy, o.Subpath, o.Labels
	return v, checkLabels(notCreated, o.Labels)
}

// addUnnamed adds the volumes that go with the container, where nothing else
// is mounted: compose names every volume there once more.
func (a *Ask) addUnnamed(targets map[string]struct{}) {
	taken := map[string]bool{}
	for _, m := range a.Mounts {
		taken[m.Target] = true
	}
	for _, m := range a.Tmpfs {
		taken[path.Clean(m.Target)] = true
	}
	for _, v := range a.Volumes {
		taken[v.Target] = true
	}
	for _, target := range slices.Sorted(maps.Keys(targets)) {
		if clean := path.Clean(target); !taken[clean] {
			a.Volumes = append(a.Volumes, VolumeAsk{Target: clean})
		}
	}
}

func checkVolumeName(what, name string) error {
	if account.ValidContainerName(name) {
		return nil
	}
	return refuse(problem.ErrInvalid, what,
		fmt.Sprintf("%q is no name for a volume: it has letters, digits, '_', '.' and '-', begins with a letter or digit, and doesn't hold '._.'", name),
		"Choose another name, or mount a directory by its full path: -v $HOME/DIR:/DIR.")
}

func checkDriver(what, driver string) error {
	if driver == "" || driver == "local" {
		return nil
	}
	return denied(what, fmt.Sprintf("volume driver %q is not served", driver), "Leave the driver away.")
}

// checkSubpath keeps a part of a volume within it; the engine opens it without
// following links out.
func checkSubpath(subpath string) error {
	if subpath == "" || !path.IsAbs(subpath) && !slices.Contains(strings.Split(subpath, "/"), "..") {
		return nil
	}
	return denied(notCreated, fmt.Sprintf("%q leads out of the volume", subpath), "Name a directory in the volume, without '..'.")
}

// checkLabels refuses labels that only ds01 may write.
func checkLabels(what string, labels map[string]string) error {
	for key := range labels {
		if label.Reserved(key) {
			return denied(what, fmt.Sprintf("label %q is written by ds01 only", key), "Use another label key.")
		}
	}
	return nil
}

// grantVolumes mounts the owner's volumes by the engine's names. Where the
// image says so, or the client, the engine makes one that goes with the
// container.
func grantVolumes(c *Create, _ Subject, g Grant) error {
	for _, target := range g.ImageVolumes {
		if err := checkTarget(path.Clean("/" + target)); err != nil {
			return err
		}
	}
	h := &c.HostConfig
	if len(h.VolumesFrom) > 0 {
		return denied(notCreated, "HostConfig.VolumesFrom can't be set: volumes are mounted one by one", "Name each with -v NAME:/DIR.")
	}
	c.Volumes = nil
	for _, v := range g.Volumes {
		if v.Subpath != "" && !g.Subpaths {
			return denied(notCreated, "this host's engine mounts volumes whole only", "Leave volume-subpath away.")
		}
		h.Mounts = append(h.Mounts, MountPoint{
			Type: "volume", Source: v.EngineName, Target: v.Target, ReadOnly: v.ReadOnly,
			VolumeOptions: &VolumeOptions{NoCopy: v.NoCopy, Subpath: v.Subpath},
		})
	}
	return nil
}

// VolumeBody is the body of POST /volumes/create.
type VolumeBody struct {
	Name              string            `json:"Name,omitzero"`
	Driver            string            `json:"Driver,omitzero"`
	DriverOpts        Unset             `json:"DriverOpts,omitzero"`
	Labels            map[string]string `json:"Labels,omitzero"`
	ClusterVolumeSpec Unset             `json:"ClusterVolumeSpec,omitzero"`
}

// ReviewVolume reads and reviews the body of a request for a volume: it lies
// on the engine's own disk, and nothing else is mounted by it.
func ReviewVolume(data []byte) (VolumeBody, error) {
	const what = "Volume not created"
	var v VolumeBody
	if err := decode(what, data, &v); err != nil {
		return v, err
	}
	if v.DriverOpts.asked != "" {
		return v, denied(what, "DriverOpts can't be set: options of a volume's driver mount what is the host's", "Leave -o away.")
	}
	if v.ClusterVolumeSpec.asked != "" {
		return v, denied(what, "ClusterVolumeSpec can't be set: there is no cluster here", "Leave the option away.")
	}
	if err := checkDriver(what, v.Driver); err != nil {
		return v, err
	}
	if v.Name != "" {
		if err := checkVolumeName(what, v.Name); err != nil {
			return v, err
		}
	}
	return v, checkLabels(what, v.Labels)
}
