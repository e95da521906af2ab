package admission

import "slices"

// An InfoHow says what becomes of a field of the engine's answer about itself.
type InfoHow string

// What people get of a field. What isn't in the table is left out.
const (
	InfoPasses  InfoHow = "passes"
	InfoCounted InfoHow = "counted" // what is the caller's
	InfoReduced InfoHow = "reduced" // to what clients read
	InfoLeftOut InfoHow = "left out"
)

// An InfoField is one field of GET /info.
type InfoField struct {
	Name string
	How  InfoHow
	Why  string // why people don't get it as it is, or what is counted
}

// InfoFields returns every field that engines answer GET /info with, up to API
// 1.56, and what people get of it who don't administer.
func InfoFields() []InfoField {
	const (
		host    = "how the host is set up"
		load    = "it grows with what others do"
		swarm   = "ds01 runs no swarm"
		plugins = "plugins are for administrators"
	)
	fields := []InfoField{
		{"Containers", InfoCounted, "as many as `docker ps -a` lists"},
		{"ContainersRunning", InfoCounted, "of those"},
		{"ContainersPaused", InfoCounted, "of those"},
		{"ContainersStopped", InfoCounted, "of those"},
		{"Images", InfoCounted, "as many as the list of images has"},
		{"DriverStatus", InfoReduced, "some drivers tell how full the host's disk is"},
		{"Runtimes", InfoReduced, "those that may be named: `nvidia` for who may hold GPUs, where Dev Containers look for it"},
		{"SystemStatus", InfoLeftOut, swarm},
		{"Plugins", InfoLeftOut, plugins},
		{"Debug", InfoLeftOut, host},
		{"NFd", InfoLeftOut, load},
		{"NGoroutines", InfoLeftOut, load},
		{"NEventsListener", InfoLeftOut, load},
		{"RegistryConfig", InfoLeftOut, host},
		{"GenericResources", InfoLeftOut, swarm},
		{"DockerRootDir", InfoLeftOut, host},
		{"HttpProxy", InfoLeftOut, "it may hold a password"},
		{"HttpsProxy", InfoLeftOut, "it may hold a password"},
		{"NoProxy", InfoLeftOut, host},
		{"Labels", InfoLeftOut, host},
		{"Swarm", InfoLeftOut, swarm},
		{"ClusterStore", InfoLeftOut, swarm},
		{"ClusterAdvertise", InfoLeftOut, swarm},
		{"ProductLicense", InfoLeftOut, host},
		{"DefaultAddressPools", InfoLeftOut, host},
		{"FirewallBackend", InfoLeftOut, host},
		{"CDISpecDirs", InfoLeftOut, host},
		{"DiscoveredDevices", InfoLeftOut, "`ds01 gpu list` tells of devices"},
		{"NRI", InfoLeftOut, plugins},
		{"Containerd", InfoLeftOut, host},
		{"Warnings", InfoLeftOut, "they tell administrators what is wrong with the host"},
	}
	for _, name := range []string{
		"ID", "Name", "Driver", "LoggingDriver", "MemoryLimit", "SwapLimit", "KernelMemory", "KernelMemoryTCP", "CpuCfsPeriod", "CpuCfsQuota",
		"CPUShares", "CPUSet", "PidsLimit", "OomKillDisable", "IPv4Forwarding", "BridgeNfIptables", "BridgeNfIp6tables", "SystemTime",
		"CgroupDriver", "CgroupVersion", "KernelVersion", "OperatingSystem", "OSVersion", "OSType", "Architecture", "NCPU", "MemTotal",
		"IndexServerAddress", "ExperimentalBuild", "ServerVersion", "LiveRestoreEnabled", "Isolation", "InitBinary", "SecurityOptions",
		"DefaultRuntime",
		"ContainerdCommit", "RuncCommit", "InitCommit", // as in GET /version
	} {
		fields = append(fields, InfoField{Name: name, How: InfoPasses})
	}
	return fields
}

// Runtimes returns the runtimes that a request may name, as GET /info tells of
// them, with NVIDIA's or without. ds01 grants what that stands for itself,
// whether the engine has it or not.
func Runtimes(gpus bool) map[string]any {
	type runtime struct {
		Path string `json:"path"`
	}
	all := map[string]any{"runc": runtime{"runc"}}
	if gpus {
		all["nvidia"] = runtime{"nvidia-container-runtime"}
	}
	return all
}

// ReadDriverStatus reports whether clients read a line of DriverStatus: one that
// tells what kind of storage it is, not how much there is of it.
func ReadDriverStatus(key string) bool {
	return slices.Contains([]string{"Backing Filesystem", "Supports d_type", "Using metacopy", "Native Overlay Diff", "userxattr", "driver-type"}, key)
}
