package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
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
	a := Ask{GPU: want, Restart: restart, Notes: c.notes(want)}
	for _, b := range c.HostConfig.Binds {
		m, err := parseBind(b)
		if err != nil {
			return Ask{}, err
		}
		a.Mounts = append(a.Mounts, m)
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
		default:
			return Ask{}, denied(notCreated, fmt.Sprintf("mounts of type %q are not served", m.Type),
				"Mount a directory of your home with -v $HOME/DIR:/DIR.")
		}
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

// gpuRequest reads HostConfig.DeviceRequests, or what stands for them.
func (c *Create) gpuRequest() (*gpu.Request, error) {
	byRuntime, err := c.gpusByRuntime()
	requests := c.HostConfig.DeviceRequests
	if err != nil || len(requests) == 0 {
		return byRuntime, err
	}
	if byRuntime != nil {
		return nil, refuse(problem.ErrInvalid, notCreated, "GPUs are asked for twice: by --gpus and by --runtime=nvidia with "+visibleDevices,
			"Keep --gpus N, and leave the others away.")
	}
	if len(requests) > 1 {
		return nil, denied(notCreated, "more than one device request", "Ask once: --gpus N.")
	}
	r := requests[0]
	isGPU := slices.ContainsFunc(r.Capabilities, func(set []string) bool { return slices.Contains(set, "gpu") })
	switch {
	case r.Driver != "" && r.Driver != "nvidia", !isGPU:
		return nil, denied(notCreated, fmt.Sprintf("device driver %q is not served", r.Driver), "Ask for GPUs with --gpus N.")
	case len(r.Options) > 0:
		return nil, denied(notCreated, "options of a device request are not served", "Ask for GPUs with --gpus N.")
	case len(r.DeviceIDs) > 0:
		return nil, denied(notCreated, "devices are chosen by ds01, not by number or UUID", "Ask for a number of GPUs: --gpus N.")
	case r.Count == -1:
		return &gpu.Request{All: true}, nil
	case r.Count < 1:
		return nil, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%d GPUs can't be granted", r.Count), "Ask for --gpus 1 or more, or leave it away.")
	}
	return &gpu.Request{Count: r.Count}, nil
}

// parseBind reads one "source:target[:options]".
func parseBind(bind string) (MountAsk, error) {
	parts := strings.Split(bind, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return MountAsk{}, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is not source:target", bind), "Write -v /home/you/DIR:/DIR.")
	}
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
		return MountAsk{}, denied(notCreated, fmt.Sprintf("%q is a named volume, and volumes are not served", m.Source),
			"Mount a directory of your home by its full path: -v $HOME/DIR:/DIR.")
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
