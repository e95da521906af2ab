package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

const notCreated = "Container not created"

// An Ask is what a create request wants of the host: devices and directories
// that must be granted before the request can be reviewed.
type Ask struct {
	GPU    *gpu.Request // nil: none
	Mounts []MountAsk   // in the order of the request
	Tmpfs  []MountPoint // memory-backed mounts, reviewed with the rest

	Restart container.RestartPolicy // what is to happen when it ends by itself
	Notes   []string                // what the caller should hear although nothing is refused
	Wishes  container.Wishes        // of what can be changed later

	Volumes []VolumeAsk
	Network NetworkAsk
	Ports   []port.Ask // without those that PublishAllPorts asks for
}

// A MountAsk is one directory or file of the host wanted in the container.
type MountAsk struct {
	Source   string // absolute and clean
	Target   string // absolute and clean
	ReadOnly bool
	Writable bool // it was said that it must be
	Alone    bool // what is mounted below the source is to be left out
}

// Ask reads what c wants of the host. Errors are of kind problem.ErrDenied
// or problem.ErrInvalid.
func (c *Create) Ask() (Ask, error) {
	want, err := c.gpuRequest()
	if err != nil {
		return Ask{}, err
	}
	restart, err := c.restartWish()
	if err != nil {
		return Ask{}, err
	}
	a := Ask{GPU: want, Restart: restart, Notes: c.notes(want), Wishes: c.HostConfig.wishes()}
	for _, b := range c.HostConfig.Binds {
		if err := a.addBind(b); err != nil {
			return Ask{}, err
		}
	}
	for _, m := range c.HostConfig.Mounts {
		switch m.Type {
		case "bind":
			ask, err := readMount(m)
			if err != nil {
				return Ask{}, err
			}
			a.Mounts = append(a.Mounts, ask)
		case "tmpfs":
			a.Tmpfs = append(a.Tmpfs, m)
		case "volume":
			ask, err := readVolume(m)
			if err != nil {
				return Ask{}, err
			}
			a.Volumes = append(a.Volumes, ask)
		default:
			return Ask{}, denied(notCreated, fmt.Sprintf("mounts of type %q are not served", m.Type),
				"Mount a directory of your home with -v $HOME/DIR:/DIR.")
		}
	}
	a.addUnnamed(c.Volumes)
	if a.Network, err = c.networkAsk(); err != nil {
		return Ask{}, err
	}
	if a.Ports, err = c.portAsks(); err != nil {
		return Ask{}, err
	}
	return a, a.checkTargets()
}

func (a Ask) checkTargets() error {
	var seen []string
	for _, m := range a.Mounts {
		seen = append(seen, m.Target)
	}
	for _, m := range a.Tmpfs {
		seen = append(seen, path.Clean(m.Target))
	}
	for _, v := range a.Volumes {
		seen = append(seen, v.Target)
	}
	slices.Sort(seen)
	for i, t := range seen {
		if err := checkTarget(t); err != nil {
			return err
		}
		if i > 0 && seen[i-1] == t {
			return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("two mounts go to %s", t), "Give each mount a path of its own.")
		}
	}
	return nil
}

// addBind reads one "source:target[:options]", where the source is a path or
// the name of a volume.
func (a *Ask) addBind(bind string) error {
	parts := strings.Split(bind, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is not source:target", bind), "Write -v /home/you/DIR:/DIR or -v NAME:/DIR.")
	}
	if !strings.HasPrefix(parts[0], "/") {
		v, err := parseVolume(parts)
		a.Volumes = append(a.Volumes, v)
		return err
	}
	m, err := parseBind(parts)
	a.Mounts = append(a.Mounts, m)
	return err
}

func parseBind(parts []string) (MountAsk, error) {
	m := MountPoint{Type: "bind", Source: parts[0], Target: parts[1], BindOptions: &BindOptions{}}
	writable := false
	if len(parts) == 3 {
		for option := range strings.SplitSeq(parts[2], ",") {
			switch option {
			case "ro":
				m.ReadOnly = true
			case "rw":
				writable = true
			case "z", "Z", "nocopy", "": // labels and copying mean nothing for a bind of ours
			default:
				m.BindOptions.Propagation = option
			}
		}
	}
	ask, err := readMount(m)
	ask.Writable = writable && !m.ReadOnly
	return ask, err
}

func readMount(m MountPoint) (MountAsk, error) {
	if !path.IsAbs(m.Source) {
		return MountAsk{}, denied(notCreated, fmt.Sprintf("%q is no full path", m.Source),
			"Mount a directory of your home by its full path: -v $HOME/DIR:/DIR.")
	}
	if m.VolumeOptions.asks() {
		return MountAsk{}, denied(notCreated, "a directory has no options of a volume", "Leave them away, or mount a volume: --mount type=volume.")
	}
	if o := m.BindOptions; o != nil {
		if o.Propagation != "" && o.Propagation != "private" && o.Propagation != "rprivate" {
			return MountAsk{}, denied(notCreated, fmt.Sprintf("mount option %q would let mounts travel between container and host", o.Propagation),
				"Leave it away.")
		}
	}
	return MountAsk{
		Source: path.Clean(m.Source), Target: path.Clean(m.Target), ReadOnly: m.ReadOnly,
		Alone: m.BindOptions != nil && m.BindOptions.NonRecursive,
	}, nil
}

// checkTarget keeps mounts off the paths that the runtime and NVIDIA's hook
// give a meaning of their own.
func checkTarget(target string) error {
	if !path.IsAbs(target) || target == "/" {
		return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is no path to mount on", target), "Choose an absolute path other than /.")
	}
	for _, kept := range []string{"/dev", "/proc", "/sys", "/run/nvidia-container-devices", "/var/run/nvidia-container-devices"} {
		if target == "/dev/shm" {
			return denied(notCreated, "/dev/shm is sized by your limits", "Set its size with --shm-size.")
		}
		if target == kept || strings.HasPrefix(target, kept+"/") {
			return denied(notCreated, fmt.Sprintf("nothing can be mounted at %s", target), "Choose a path outside "+kept+".")
		}
	}
	return nil
}

func refuse(kind error, what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(kind, why), Next: next}
}

func denied(what, why, next string) error { return refuse(problem.ErrDenied, what, why, next) }
