package docker_test

import (
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dcontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
)

// environmentFits judges the variables that the container has in the end: the
// engine adds the image's that the request doesn't speak of, and takes away
// those without a value.
func (w *world) environmentFits(sent []string) bool {
	spoken := map[string]bool{}
	for _, e := range sent {
		name, _, _ := strings.Cut(e, "=")
		spoken[name] = true
	}
	for _, e := range w.image.Env {
		if name, _, _ := strings.Cut(e, "="); !spoken[name] && !w.variableFits(e) && e != "NVIDIA_REQUIRE_CUDA=cuda>=12" {
			return false
		}
	}
	return spoken["NVIDIA_VISIBLE_DEVICES"] && !slices.ContainsFunc(sent, func(e string) bool { return strings.Contains(e, "=") && !w.variableFits(e) })
}

// variableFits keeps variables from choosing devices, and from steering what
// runs as root on the host beside a GPU.
func (w *world) variableFits(e string) bool {
	name, value, _ := strings.Cut(e, "=")
	hooked := w.device && w.libraries != admission.LibrariesNone
	switch {
	case name == "NVIDIA_VISIBLE_DEVICES":
		return value == "void" || value == "GPU-a" && w.device && w.libraries == admission.LibrariesHook
	case strings.HasPrefix(name, "NVIDIA_"), name == "CUDA_VISIBLE_DEVICES":
		return false
	case name == "LD_LIBRARY_PATH" && hooked:
		return value == "" || within(filepath.SplitList(value), "/usr/…", "/lib/…", "/lib64/…", "/opt/…")
	case strings.HasPrefix(name, "LD_") && hooked:
		return value == ""
	}
	return true
}

// labelsFit judges the labels that the container has in the end.
func (w *world) labelsFit(sent map[string]string) bool {
	labels := maps.Clone(w.image.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, sent)
	return labelsOfOursFit(labels, map[string]string{
		"aime.mlc.DS01_UID": "1001", "aime.mlc.DS01_CLAIM": "0123456789abcdef", "aime.mlc.DS01_MANAGED": "true", "aime.mlc.DS01_INTERFACE": labels["aime.mlc.DS01_INTERFACE"],
	}) && slices.Contains([]string{"docker", "compose", "devcontainer", "mlc", "api"}, labels["aime.mlc.DS01_INTERFACE"])
}

// labelsOfOursFit reports whether what only ds01 may say is what it says.
func labelsOfOursFit(labels, ours map[string]string) bool {
	for key, value := range labels {
		if lower := strings.ToLower(key); value != ours[key] && (strings.HasPrefix(lower, "aime.mlc") || strings.HasPrefix(lower, "ds01")) {
			return false
		}
	}
	for key, value := range ours {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// outsideProc keeps the runtime's own descriptors out of reach.
func outsideProc(dir string) bool { return !below(path.Clean("/"+dir), "/proc") }

func below(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// within reports whether all values are among some; "/x/…" is what is below /x.
func within(values []string, some ...string) bool {
	return !slices.ContainsFunc(values, func(v string) bool {
		return !slices.ContainsFunc(some, func(s string) bool {
			folder, whole := strings.CutSuffix(s, "/…")
			return v == s || whole && filepath.IsAbs(v) && below(filepath.Clean(v), folder)
		})
	})
}

func logFits(l dcontainer.LogConfig) bool {
	return l.Type == "none" && len(l.Config) == 0 ||
		l.Type == "json-file" && maps.Equal(l.Config, map[string]string{"max-size": "10m", "max-file": "3"})
}

func (w *world) networkFits(mode string) bool {
	return slices.Contains([]string{"none", "net._.1001", "default._.1001", "container:0ther"}, mode) || mode == "default" && !w.bridged
}

// endpointsFit judges what the container is connected with: networks of
// alice's, under names.
func endpointsFit(r *dcontainer.CreateRequest) bool {
	if r.NetworkingConfig == nil {
		return true
	}
	for name, endpoint := range r.NetworkingConfig.EndpointsConfig {
		if !slices.Contains([]string{"net._.1001", "default._.1001"}, name) || endpointPolicy("").judge("", reflect.ValueOf(endpoint)) != "" {
			return false
		}
	}
	return true
}

var aName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// aHost is one line for /etc/hosts.
var aHost = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*:[0-9a-fA-F:.]+$`)

// portsFit judges where ports are published: in alice's range, and only where
// she has a network of her own.
func portsFit(r *dcontainer.CreateRequest) bool {
	for key, bindings := range r.HostConfig.PortBindings {
		number, err := strconv.ParseUint(key.Port(), 10, 16)
		if err != nil || number == 0 || key.Proto() != "tcp" && key.Proto() != "udp" {
			return false
		}
		for _, b := range bindings {
			host, err := strconv.Atoi(b.HostPort)
			address, aerr := netip.ParseAddr(b.HostIP)
			if err != nil || host < 20000 || host > 20099 || aerr != nil || !address.IsLoopback() {
				return false
			}
		}
		if len(bindings) == 0 || r.NetworkingConfig == nil || len(r.NetworkingConfig.EndpointsConfig) == 0 {
			return false
		}
	}
	return true
}

func securityFits(options []string, needed bool) bool {
	return within(options, "no-new-privileges", "no-new-privileges:true", "no-new-privileges=true") && (!needed || len(options) > 0)
}

// targetFits keeps mounts off what the kernel, the runtime and NVIDIA's hook
// give a meaning of its own.
func targetFits(target string) bool {
	return path.IsAbs(target) && path.Clean(target) == target && target != "/" &&
		!below(target, "/dev", "/proc", "/sys", "/run/nvidia-container-devices", "/var/run/nvidia-container-devices")
}

var tmpfsOption = regexp.MustCompile(`^(nosuid|nodev|exec|noexec|ro|rw|mode=[01]?[0-7]{1,3}|[ug]id=[0-9]+|size=([1-9][0-9]*))$`)

// tmpfsFits judges the tmpfs, each of which has a size within the memory.
func tmpfsFits(h *dcontainer.HostConfig) bool {
	for target, text := range h.Tmpfs {
		options, size := strings.Split(text, ","), int64(0)
		for _, option := range options {
			m := tmpfsOption.FindStringSubmatch(option)
			if m == nil {
				return false
			}
			if m[2] != "" {
				size, _ = strconv.ParseInt(m[2], 10, 64) // 0 where it is beyond all numbers
			}
		}
		if !targetFits(target) || !slices.Contains(options, "nosuid") || !slices.Contains(options, "nodev") || h.Memory > 0 && (size < 1 || size > h.Memory) {
			return false
		}
	}
	return true
}

// mountsFit judges mounts: directories that ds01 has opened, as they were
// granted, nodes of the granted device, and alice's volumes.
func (w *world) mountsFit(mounts []mount.Mount) bool {
	var targets []string
	for _, m := range mounts {
		targets = append(targets, m.Target)
		all := rules{"Type": one(mount.TypeBind), "Source": anything, "Target": anything, "ReadOnly": anything, "BindOptions.Propagation": one(mount.PropagationRPrivate)}
		fits := w.bindFits(m)
		if m.Type == mount.TypeVolume {
			all = rules{
				"Type": anything, "Source": anything, "Target": anything, "ReadOnly": anything, "VolumeOptions.NoCopy": anything,
				"VolumeOptions.Subpath": func(v any) bool { return v == "" || filepath.IsLocal(v.(string)) },
			}
			fits = targetFits(m.Target) && (m.Source == "" || isAlices(m.Source))
		}
		if !fits || all.judge("", reflect.ValueOf(m)) != "" {
			return false
		}
	}
	slices.Sort(targets)
	return len(slices.Compact(targets)) == len(mounts)
}

func (w *world) bindFits(m mount.Mount) bool {
	node := path.Base(m.Source)
	if m.Source == "/run/ds01/dev/"+node {
		return m.Target == "/dev/"+node && w.device && w.libraries == admission.LibrariesNone && (node == "nvidia0" || node == "nvidiactl")
	}
	return targetFits(m.Target) && slices.ContainsFunc(w.laid, func(l container.Mount) bool {
		shared := below(l.Source, "/data")
		return l.HostPath == m.Source && l.Target == m.Target && below(l.Source, "/home/alice", "/data") && (m.ReadOnly || !l.ReadOnly && !shared)
	})
}

// isAlices reports whether the engine's name of a volume or network is one of
// alice's.
func isAlices(name string) bool {
	own, ok := strings.CutSuffix(name, "._.1001")
	return ok && aName.MatchString(own) && !strings.Contains(own, "._.")
}

func (w *world) deviceRulesFit(rules []string) bool {
	return len(rules) == 0 || w.device && w.libraries != admission.LibrariesCDI && within(rules, "c 195:0 rw", "c 195:255 rw")
}

func (w *world) deviceRequestsFit(requests []dcontainer.DeviceRequest) bool {
	want := map[string]dcontainer.DeviceRequest{
		admission.LibrariesCDI:  {Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=GPU-a"}},
		admission.LibrariesHook: {Driver: "nvidia", DeviceIDs: []string{"GPU-a"}, Capabilities: [][]string{{"gpu", "compute", "utility"}}},
	}
	return len(requests) == 0 || w.device && len(requests) == 1 && reflect.DeepEqual(requests[0], want[w.libraries])
}

func (w *world) ulimitsFit(ulimits []*dcontainer.Ulimit) bool {
	files := 0
	for _, u := range ulimits {
		if u.Name == "nofile" {
			files++
			if w.bounds.files > 0 && (u.Soft < 1 || u.Soft > u.Hard || u.Hard > w.bounds.files) {
				return false
			}
		} else if !slices.Contains([]string{"core", "memlock", "nproc", "stack"}, u.Name) {
			return false
		}
	}
	return files == 1 || files == 0 && w.bounds.files == 0
}

// optionsFit keeps options from naming the host's interfaces and addresses.
func optionsFit(options map[string]string) bool {
	for key, value := range options {
		_, notBool := strconv.ParseBool(value)
		mtu, notNumber := strconv.Atoi(value)
		isolation := key == "com.docker.network.bridge.enable_icc" && notBool == nil
		size := key == "com.docker.network.driver.mtu" && notNumber == nil && mtu >= 100
		if !isolation && !size {
			return false
		}
	}
	return true
}
