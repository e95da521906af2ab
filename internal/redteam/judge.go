package redteam

import (
	"fmt"
	"slices"
	"strings"
)

// An Inspection is what the engine says of a container, as far as Judge looks
// at it.
type Inspection struct {
	ID     string `json:"Id"`
	Name   string
	Config struct {
		Env        []string
		Labels     map[string]string
		WorkingDir string
	}
	HostConfig struct {
		Privileged           bool
		CapAdd, CapDrop      []string
		PidMode, IpcMode     string
		UTSMode, UsernsMode  string
		CgroupnsMode         string
		NetworkMode          string
		CgroupParent, Cgroup string
		Runtime              string
		SecurityOpt          []string
		MaskedPaths          []string
		ReadonlyPaths        []string
		Devices              []map[string]string
		DeviceCgroupRules    []string
		DeviceRequests       []struct {
			DeviceIDs []string
			Count     int
		}
		Binds, VolumesFrom, Links []string
		Sysctls, Annotations      map[string]string
		Tmpfs                     map[string]string
		Memory, MemorySwap        int64
		NanoCPUs                  int64 `json:"NanoCpus"`
		CPURealtimeRuntime        int64 `json:"CpuRealtimeRuntime"`
		PidsLimit                 *int64
		ShmSize                   int64
		OomScoreAdj               int
		OomKillDisable            *bool
		LogConfig                 struct {
			Type   string
			Config map[string]string
		}
		RestartPolicy struct{ Name string }
		PortBindings  map[string][]struct{ HostIP, HostPort string }
	}
	Mounts []struct{ Type, Name, Source, Destination, Propagation string }
}

// Judge compares a container with one made without any wish, the plain one,
// and says what is looser than its owner may have. Folder is where ds01 lays
// mounts; other containers that are the owner's may be named.
func Judge(c, plain Inspection, folder string, uid int) []string {
	var found []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			found = append(found, "a container with "+fmt.Sprintf(format, args...))
		}
	}
	judgeSpaces(c, add)
	judgePowers(c, plain, add)
	judgeReach(c, plain, folder, uid, add)
	judgeLimits(c, plain, add)
	return found
}

type adder func(bad bool, format string, args ...any)

func judgeSpaces(c Inspection, add adder) {
	h := c.HostConfig
	for _, m := range []struct {
		name, value string
		allowed     []string
	}{
		{"PidMode", h.PidMode, []string{"", "private"}},
		{"IpcMode", h.IpcMode, []string{"", "private", "none", "shareable"}},
		{"UTSMode", h.UTSMode, []string{"", "private"}},
		{"UsernsMode", h.UsernsMode, []string{"", "private"}},
		{"CgroupnsMode", h.CgroupnsMode, []string{"private"}},
	} {
		add(!slices.Contains(m.allowed, m.value), "%s %q", m.name, m.value)
	}
	add(h.NetworkMode == "host" || strings.HasPrefix(h.NetworkMode, "ns:"), "network %q", h.NetworkMode)
	add(h.Cgroup != "", "cgroup %q", h.Cgroup)
}

func judgePowers(c, plain Inspection, add adder) {
	h := c.HostConfig
	add(h.Privileged, "every privilege")
	add(len(h.CapAdd) > 0, "added capabilities %v", h.CapAdd)
	for _, dropped := range plain.HostConfig.CapDrop {
		add(!slices.Contains(h.CapDrop, dropped) && !slices.Contains(h.CapDrop, "ALL"), "capability %s, which is dropped", dropped)
	}
	add(h.CgroupParent != plain.HostConfig.CgroupParent, "cgroup parent %q", h.CgroupParent)
	add(h.Runtime != plain.HostConfig.Runtime, "runtime %q", h.Runtime)
	for _, o := range h.SecurityOpt {
		add(!slices.Contains(plain.HostConfig.SecurityOpt, o) && o != "no-new-privileges" && o != "no-new-privileges:true" && o != "no-new-privileges=true", "security option %q", o)
	}
	for _, p := range plain.HostConfig.MaskedPaths {
		add(!slices.Contains(h.MaskedPaths, p), "%s uncovered", p)
	}
	for _, p := range plain.HostConfig.ReadonlyPaths {
		add(!slices.Contains(h.ReadonlyPaths, p), "%s writable", p)
	}
	for key := range h.Sysctls {
		add(!strings.HasPrefix(key, "net."), "kernel setting %s", key)
	}
	add(len(h.Annotations) > 0, "annotations %v", h.Annotations)
	add(strings.HasPrefix(c.Config.WorkingDir, "/proc"), "working directory %q", c.Config.WorkingDir)
}

// judgeReach looks at what of the host is inside.
func judgeReach(c, plain Inspection, folder string, uid int, add adder) {
	h := c.HostConfig
	add(len(h.Devices) > 0, "devices %v", h.Devices)
	for _, r := range h.DeviceCgroupRules {
		add(strings.Contains(r, "*") || strings.Contains(r, "m"), "device rule %q", r)
	}
	for _, r := range h.DeviceRequests {
		add(r.Count != 0 || slices.ContainsFunc(r.DeviceIDs, func(id string) bool { return !strings.Contains(id, "-") }), "device request %v", r)
	}
	add(len(h.VolumesFrom) > 0 && uid > 0 && slices.ContainsFunc(h.VolumesFrom, func(v string) bool { return len(v) < 64 }), "volumes from %v", h.VolumesFrom)
	for _, m := range c.Mounts {
		add(m.Type == "bind" && !strings.HasPrefix(m.Source, folder+"/"), "%s of the host at %s", m.Source, m.Destination)
		add(m.Type == "bind" && m.Propagation != "" && m.Propagation != "rprivate" && m.Propagation != "private", "mounts that travel (%s) at %s", m.Propagation, m.Destination)
	}
	for target, options := range h.Tmpfs {
		for _, want := range []string{"nosuid", "nodev"} {
			add(!slices.Contains(strings.Split(options, ","), want), "a memory mount at %s without %s", target, want)
		}
	}
	for _, e := range c.Config.Env {
		ours := slices.Contains(plain.Config.Env, e) || e == "NVIDIA_VISIBLE_DEVICES=void"
		add(strings.HasPrefix(e, "NVIDIA_") && !ours, "variable %s", e)
	}
	for port, bindings := range h.PortBindings {
		for _, b := range bindings {
			add(len(b.HostPort) < 4 && b.HostPort != "" && b.HostPort != "0", "port %s at %s:%s", port, b.HostIP, b.HostPort)
		}
	}
	add(c.Config.Labels["aime.mlc.DS01_UID"] != fmt.Sprint(uid), "the label of uid %q", c.Config.Labels["aime.mlc.DS01_UID"])
}

// judgeLimits takes the plain container's limits as the owner's.
func judgeLimits(c, plain Inspection, add adder) {
	h, l := c.HostConfig, plain.HostConfig
	over := func(value, limit int64) bool { return limit > 0 && (value <= 0 || value > limit) }
	add(over(h.Memory, l.Memory), "memory %d, over %d", h.Memory, l.Memory)
	add(over(h.MemorySwap, l.MemorySwap), "swap %d, over %d", h.MemorySwap, l.MemorySwap)
	add(over(h.NanoCPUs, l.NanoCPUs), "%d nano-processors, over %d", h.NanoCPUs, l.NanoCPUs)
	add(over(h.ShmSize, l.ShmSize), "shared memory %d, over %d", h.ShmSize, l.ShmSize)
	add(over(number(h.PidsLimit), number(l.PidsLimit)), "%d processes, over %d", number(h.PidsLimit), number(l.PidsLimit))
	add(h.OomScoreAdj < 0, "an oom score of %d", h.OomScoreAdj)
	add(h.OomKillDisable != nil && *h.OomKillDisable, "no end over its memory")
	add(h.CPURealtimeRuntime > 0, "real-time scheduling")
	add(!slices.Contains([]string{"json-file", "local", "none"}, h.LogConfig.Type), "log driver %q", h.LogConfig.Type)
	add(h.LogConfig.Type == "json-file" && h.LogConfig.Config["max-size"] != l.LogConfig.Config["max-size"], "logs of %q", h.LogConfig.Config["max-size"])
	add(h.RestartPolicy.Name != "" && h.RestartPolicy.Name != "no", "restart policy %q at the engine", h.RestartPolicy.Name)
}

func number(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
