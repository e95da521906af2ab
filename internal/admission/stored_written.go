package admission

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// starting says of a refusal that create's review wrote what it is about here.
func starting(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.What == notStarted {
		return err
	}
	return &problem.Error{What: notStarted, Why: p.Why, Next: "Make it anew within today's limits; what lies in mounted directories stays.", Code: p.Code}
}

// checkWritten compares what only ds01 writes with what it would write now.
func checkWritten(st Stored, s Subject, g Grant) error {
	h := st.host
	switch {
	case h.CgroupParent != g.CgroupParent:
		return exceeds("CgroupParent", fmt.Sprintf("%q isn't %q, which carries its owner's limits", h.CgroupParent, g.CgroupParent))
	case h.CgroupnsMode != "private" && h.CgroupnsMode != "":
		return exceeds("CgroupnsMode", fmt.Sprintf("%q shows the host's groups", h.CgroupnsMode))
	case !slices.Contains(h.CapDrop, "MKNOD") && !slices.Contains(h.CapDrop, "CAP_MKNOD") && !slices.Contains(h.CapDrop, "ALL"):
		return exceeds("CapDrop", "it may make device nodes")
	case h.LogConfig.Type == "json-file" && (h.LogConfig.Config["max-size"] == "" || h.LogConfig.Config["max-file"] == ""):
		return exceeds("LogConfig", "its log has no limit")
	}
	for target, options := range h.Tmpfs {
		if list := strings.Split(options, ","); !slices.Contains(list, "nosuid") || !slices.Contains(list, "nodev") {
			return exceeds("Tmpfs", target+" is neither nosuid nor nodev")
		}
	}
	if s.Isolation == UID || g.plain() {
		return checkOwnUser(st, s, g)
	}
	return nil
}

// checkOwnUser makes sure that a container with host mounts runs as its owner
// where the engine doesn't remap users, or the mounts' ids can't be mapped.
func checkOwnUser(st Stored, s Subject, g Grant) error {
	for _, group := range st.host.GroupAdd {
		if !ownGroup(s.Account, group) {
			return exceeds("GroupAdd", fmt.Sprintf("its owner isn't in group %s", group))
		}
	}
	own := fmt.Sprintf("%d:%d", s.Account.UID, s.Account.GID)
	switch {
	case !container.AnyFiles(g.Mounts):
		return nil
	case st.config.User != own:
		return exceeds("Mounts", fmt.Sprintf("a container with directories of the host runs as %s here, not as %q", own, st.config.User))
	case !slices.Contains(st.host.CapDrop, "ALL"):
		return exceeds("CapDrop", "a container with directories of the host has no capabilities here")
	case !slices.ContainsFunc(st.host.SecurityOpt, func(o string) bool { return strings.HasPrefix(o, "no-new-privileges") }):
		return exceeds("SecurityOpt", "a container with directories of the host gains no privileges here")
	}
	return nil
}

// checkLasting refuses what is above a limit and that no update can lower.
func checkLasting(st Stored, s Subject, g Grant) error {
	c := Create{HostConfig: HostConfig{Ulimits: slices.Clone(st.host.Ulimits)}}
	if err := reviewUlimits(&c, s, g); err != nil {
		return starting(err)
	}
	bounded := slices.ContainsFunc(st.host.Ulimits, func(u Ulimit) bool { return u.Name == "nofile" })
	if limit := s.Limits.UlimitNofile; !limit.Unlimited && limit.Value > 0 && !bounded {
		return exceeds("Ulimits", fmt.Sprintf("it may open any number of files, and your limit is %d (ulimit_nofile: %s)", limit.Value, s.Limits.Source("ulimit_nofile")))
	}
	_, err := within(s, "--shm-size", "shm_size", st.host.ShmSize, s.Limits.ShmSize, quantity.ByteSize.String)
	return starting(err)
}

// checkDevices makes sure that no device opens but those of the claim. Where
// they come at each start, none opens by what is stored; the devices that it
// names for NVIDIA's hook are those of when it was made, and mean nothing.
func checkDevices(st Stored, _ Subject, g Grant) error {
	var allowed HostConfig
	if runtime := st.host.Runtime == AtStartRuntime; runtime != g.AtStart {
		return exceeds("Runtime", fmt.Sprintf("%q isn't what it was made with", st.host.Runtime))
	}
	grantNodes(&allowed, g)
	for _, rule := range st.host.DeviceCgroupRules {
		if !slices.Contains(allowed.DeviceCgroupRules, rule) {
			return exceeds("DeviceCgroupRules", fmt.Sprintf("%q opens a device that isn't the container's now", rule))
		}
	}
	for _, r := range st.host.DeviceRequests {
		if r.Count != 0 {
			return exceeds("DeviceRequests", "devices are chosen by the engine")
		}
		if g.AtStart && r.Driver == "nvidia" {
			continue
		}
		for _, id := range r.DeviceIDs {
			if uuid := strings.TrimPrefix(id, "nvidia.com/gpu="); !slices.ContainsFunc(g.Devices, func(d gpu.Device) bool { return d.UUID == uuid }) {
				return exceeds("DeviceRequests", fmt.Sprintf("%q isn't the container's device", id))
			}
		}
	}
	return nil
}

// checkMounts makes sure that nothing of the host is in the container but what
// ds01 mounts for its owner, and the nodes of its devices.
func checkMounts(st Stored, _ Subject, g Grant) error {
	if len(st.host.Binds) > 0 {
		return exceeds("Binds", fmt.Sprintf("%q is not mounted by ds01", st.host.Binds[0]))
	}
	var allowed HostConfig
	grantNodes(&allowed, g)
	for _, m := range g.Mounts {
		allowed.Mounts = append(allowed.Mounts, bind(m.HostPath, m.Target, m.ReadOnly))
	}
	for _, m := range st.host.Mounts {
		own := func(v VolumeGrant) bool { return v.EngineName == m.Source }
		if m.Type == "volume" && (m.Source == "" || slices.ContainsFunc(g.Volumes, own)) {
			continue
		}
		if !slices.ContainsFunc(allowed.Mounts, func(a MountPoint) bool { return sameMount(a, m) }) {
			return exceeds("Mounts", fmt.Sprintf("%s at %s is not mounted by ds01", path.Clean(m.Source), m.Target))
		}
	}
	return nil
}

func sameMount(a, m MountPoint) bool {
	private := m.BindOptions == nil || slices.Contains([]string{"", "private", "rprivate"}, m.BindOptions.Propagation)
	return private && a.Type == m.Type && a.Source == m.Source && a.Target == m.Target && (m.ReadOnly || !a.ReadOnly)
}

// checkForeignMounts refuses directories of the host in a container that ds01
// didn't make: nobody opened them with the owner's rights.
func checkForeignMounts(st Stored, _ Subject, _ Grant) error {
	for _, b := range st.host.Binds {
		if strings.HasPrefix(b, "/") {
			return exceeds("Binds", fmt.Sprintf("%q is not mounted by ds01", b))
		}
	}
	for _, m := range st.host.Mounts {
		if m.Type == "bind" && !strings.HasPrefix(m.Target, "/dev/nvidia") {
			return exceeds("Mounts", fmt.Sprintf("%s at %s is not mounted by ds01", m.Source, m.Target))
		}
	}
	return nil
}
