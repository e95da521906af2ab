package admission

// Create is the body of POST /containers/create in ds01's own words: a typed
// field is reviewed and sent, an Unset one is refused when it asks for
// something. A field that isn't here is unknown, and refused.
type Create struct {
	Hostname         string              `json:"Hostname,omitzero"`
	Domainname       Unset               `json:"Domainname,omitzero"`
	User             string              `json:"User,omitzero"`
	AttachStdin      bool                `json:"AttachStdin,omitzero"`
	AttachStdout     bool                `json:"AttachStdout,omitzero"`
	AttachStderr     bool                `json:"AttachStderr,omitzero"`
	ExposedPorts     map[string]struct{} `json:"ExposedPorts,omitzero"`
	Tty              bool                `json:"Tty,omitzero"`
	OpenStdin        bool                `json:"OpenStdin,omitzero"`
	StdinOnce        bool                `json:"StdinOnce,omitzero"`
	Env              []string            `json:"Env,omitzero"`
	Cmd              Words               `json:"Cmd,omitzero"`
	Healthcheck      *Healthcheck        `json:"Healthcheck,omitzero"`
	ArgsEscaped      Ignored             `json:"ArgsEscaped,omitzero"`
	Image            string              `json:"Image,omitzero"`
	Volumes          map[string]struct{} `json:"Volumes,omitzero"`
	WorkingDir       string              `json:"WorkingDir,omitzero"`
	Entrypoint       Words               `json:"Entrypoint,omitzero"`
	NetworkDisabled  bool                `json:"NetworkDisabled,omitzero"`
	MacAddress       Unset               `json:"MacAddress,omitzero"`
	OnBuild          Unset               `json:"OnBuild,omitzero"`
	Labels           map[string]string   `json:"Labels,omitzero"`
	StopSignal       string              `json:"StopSignal,omitzero"`
	StopTimeout      *int                `json:"StopTimeout,omitzero"`
	Shell            Unset               `json:"Shell,omitzero"`
	HostConfig       HostConfig          `json:"HostConfig,omitzero"`
	NetworkingConfig NetworkingConfig    `json:"NetworkingConfig,omitzero"`

	// dockerode writes the query's keys here as well, and an empty list of old.
	QueryName     Ignored `json:"name,omitzero"`
	QueryPlatform Ignored `json:"platform,omitzero"`
	VolumesFrom   Unset   `json:"VolumesFrom,omitzero"`
}

// HostConfig is the part of Create that touches the host.
type HostConfig struct {
	Binds             []string                 `json:"Binds,omitzero"`
	Mounts            []MountPoint             `json:"Mounts,omitzero"`
	Tmpfs             map[string]string        `json:"Tmpfs,omitzero"`
	LogConfig         LogConfig                `json:"LogConfig,omitzero"`
	NetworkMode       string                   `json:"NetworkMode,omitzero"`
	RestartPolicy     RestartPolicy            `json:"RestartPolicy,omitzero"`
	Runtime           string                   `json:"Runtime,omitzero"` // a way to ask for GPUs, never sent
	AutoRemove        bool                     `json:"AutoRemove,omitzero"`
	CapDrop           []string                 `json:"CapDrop,omitzero"`
	GroupAdd          []string                 `json:"GroupAdd,omitzero"`
	IpcMode           string                   `json:"IpcMode,omitzero"`
	CgroupnsMode      string                   `json:"CgroupnsMode,omitzero"`
	Init              *bool                    `json:"Init,omitzero"`
	ReadonlyRootfs    bool                     `json:"ReadonlyRootfs,omitzero"`
	SecurityOpt       []string                 `json:"SecurityOpt,omitzero"`
	OomScoreAdj       int                      `json:"OomScoreAdj,omitzero"`
	ShmSize           int64                    `json:"ShmSize,omitzero"`
	Ulimits           []Ulimit                 `json:"Ulimits,omitzero"`
	Memory            int64                    `json:"Memory,omitzero"`
	MemorySwap        int64                    `json:"MemorySwap,omitzero"`
	MemoryReservation int64                    `json:"MemoryReservation,omitzero"`
	NanoCPUs          int64                    `json:"NanoCpus,omitzero"`
	CPUShares         int64                    `json:"CpuShares,omitzero"`
	CpusetCpus        string                   `json:"CpusetCpus,omitzero"`
	PidsLimit         *int64                   `json:"PidsLimit,omitzero"`
	DeviceRequests    []DeviceRequest          `json:"DeviceRequests,omitzero"`
	Devices           []DeviceMapping          `json:"Devices,omitzero"` // a way to ask for GPUs, never sent
	PublishAllPorts   bool                     `json:"PublishAllPorts,omitzero"`
	VolumesFrom       []string                 `json:"VolumesFrom,omitzero"`
	PortBindings      map[string][]PortBinding `json:"PortBindings,omitzero"`
	ExtraHosts        []string                 `json:"ExtraHosts,omitzero"`
	Links             []string                 `json:"Links,omitzero"` // become names on the networks

	// What ds01 alone writes: refused in what a client sends.
	CgroupParent      string   `json:"CgroupParent,omitzero"`
	UsernsMode        string   `json:"UsernsMode,omitzero"`
	DeviceCgroupRules []string `json:"DeviceCgroupRules,omitzero"`

	ConsoleSize     Ignored `json:"ConsoleSize,omitzero"`
	ContainerIDFile Ignored `json:"ContainerIDFile,omitzero"`

	Annotations          Unset `json:"Annotations,omitzero"`
	BlkioDeviceReadBps   Unset `json:"BlkioDeviceReadBps,omitzero"`
	BlkioDeviceReadIOps  Unset `json:"BlkioDeviceReadIOps,omitzero"`
	BlkioDeviceWriteBps  Unset `json:"BlkioDeviceWriteBps,omitzero"`
	BlkioDeviceWriteIOps Unset `json:"BlkioDeviceWriteIOps,omitzero"`
	BlkioWeight          Unset `json:"BlkioWeight,omitzero"`
	BlkioWeightDevice    Unset `json:"BlkioWeightDevice,omitzero"`
	CapAdd               Unset `json:"CapAdd,omitzero"`
	Capabilities         Unset `json:"Capabilities,omitzero"`
	Cgroup               Unset `json:"Cgroup,omitzero"`
	CPUCount             Unset `json:"CpuCount,omitzero"`
	CPUPercent           Unset `json:"CpuPercent,omitzero"`
	CPUPeriod            Unset `json:"CpuPeriod,omitzero"`
	CPUQuota             Unset `json:"CpuQuota,omitzero"`
	CPURealtimePeriod    Unset `json:"CpuRealtimePeriod,omitzero"`
	CPURealtimeRuntime   Unset `json:"CpuRealtimeRuntime,omitzero"`
	CpusetMems           Unset `json:"CpusetMems,omitzero"`
	DNS                  Unset `json:"Dns,omitzero"`
	DNSOptions           Unset `json:"DnsOptions,omitzero"`
	DNSSearch            Unset `json:"DnsSearch,omitzero"`
	IOMaximumBandwidth   Unset `json:"IOMaximumBandwidth,omitzero"`
	IOMaximumIOps        Unset `json:"IOMaximumIOps,omitzero"`
	Isolation            Unset `json:"Isolation,omitzero"`
	KernelMemory         Unset `json:"KernelMemory,omitzero"`
	KernelMemoryTCP      Unset `json:"KernelMemoryTCP,omitzero"`
	MaskedPaths          Given `json:"MaskedPaths,omitzero"`
	MemorySwappiness     Unset `json:"MemorySwappiness,omitzero"`
	OomKillDisable       Unset `json:"OomKillDisable,omitzero"`
	PidMode              Unset `json:"PidMode,omitzero"`
	Privileged           Unset `json:"Privileged,omitzero"`
	ReadonlyPaths        Given `json:"ReadonlyPaths,omitzero"`
	StorageOpt           Unset `json:"StorageOpt,omitzero"`
	Sysctls              Unset `json:"Sysctls,omitzero"`
	UTSMode              Unset `json:"UTSMode,omitzero"`
	VolumeDriver         Unset `json:"VolumeDriver,omitzero"`
	Umask                Unset `json:"Umask,omitzero"`
}

// Given is an Unset field in which even an empty list asks for something: it
// overrides the engine's defaults.
type Given struct{ Unset }

// UnmarshalJSON keeps every value but null.
func (g *Given) UnmarshalJSON(value []byte) error {
	if string(value) != "null" {
		g.asked = string(value)
	}
	return nil
}

// refused lists every field that nobody may set, with the reason.
func (c *Create) refused() []refusal {
	h := &c.HostConfig
	all := []refusal{
		{"Domainname", c.Domainname, "a domain name can pose as another host"},
		{"MacAddress", c.MacAddress, "addresses on the network are the engine's to give"},
		{"OnBuild", c.OnBuild, "it belongs to builds"},
		{"Shell", c.Shell, "it belongs to builds"},
		{"VolumesFrom", c.VolumesFrom, "its place is HostConfig"},
		{"HostConfig.Annotations", h.Annotations, "annotations steer the runtime below the limits"},
		{"HostConfig.BlkioDeviceReadBps", h.BlkioDeviceReadBps, "disk rates are set by your limits"},
		{"HostConfig.BlkioDeviceReadIOps", h.BlkioDeviceReadIOps, "disk rates are set by your limits"},
		{"HostConfig.BlkioDeviceWriteBps", h.BlkioDeviceWriteBps, "disk rates are set by your limits"},
		{"HostConfig.BlkioDeviceWriteIOps", h.BlkioDeviceWriteIOps, "disk rates are set by your limits"},
		{"HostConfig.BlkioWeight", h.BlkioWeight, "disk rates are set by your limits"},
		{"HostConfig.BlkioWeightDevice", h.BlkioWeightDevice, "disk rates are set by your limits"},
		{"HostConfig.CapAdd", h.CapAdd, "added capabilities reach beyond the container"},
		{"HostConfig.Capabilities", h.Capabilities, "added capabilities reach beyond the container"},
		{"HostConfig.Cgroup", h.Cgroup, "the cgroup is set by ds01"},
		{"HostConfig.CpuCount", h.CPUCount, "it is for Windows"},
		{"HostConfig.CpuPercent", h.CPUPercent, "it is for Windows"},
		{"HostConfig.CpuPeriod", h.CPUPeriod, "write --cpus instead"},
		{"HostConfig.CpuQuota", h.CPUQuota, "write --cpus instead"},
		{"HostConfig.CpuRealtimePeriod", h.CPURealtimePeriod, "real-time scheduling can starve the host"},
		{"HostConfig.CpuRealtimeRuntime", h.CPURealtimeRuntime, "real-time scheduling can starve the host"},
		{"HostConfig.CpusetMems", h.CpusetMems, "memory nodes are the host's to choose"},
		{"HostConfig.Dns", h.DNS, "name servers are the host's"},
		{"HostConfig.DnsOptions", h.DNSOptions, "name servers are the host's"},
		{"HostConfig.DnsSearch", h.DNSSearch, "name servers are the host's"},
		{"HostConfig.IOMaximumBandwidth", h.IOMaximumBandwidth, "it is for Windows"},
		{"HostConfig.IOMaximumIOps", h.IOMaximumIOps, "it is for Windows"},
		{"HostConfig.Isolation", h.Isolation, "it is for Windows"},
		{"HostConfig.KernelMemory", h.KernelMemory, "write --memory instead"},
		{"HostConfig.KernelMemoryTCP", h.KernelMemoryTCP, "write --memory instead"},
		{"HostConfig.MaskedPaths", h.MaskedPaths.Unset, "it uncovers what the engine hides of the host"},
		{"HostConfig.MemorySwappiness", h.MemorySwappiness, "swap is set by your limits"},
		{"HostConfig.OomKillDisable", h.OomKillDisable, "a container over its memory must end"},
		{"HostConfig.PidMode", h.PidMode, "it shows other people's processes"},
		{"HostConfig.Privileged", h.Privileged, "a privileged container is root on the host"},
		{"HostConfig.ReadonlyPaths", h.ReadonlyPaths.Unset, "it uncovers what the engine hides of the host"},
		{"HostConfig.StorageOpt", h.StorageOpt, "storage is set by your limits"},
		{"HostConfig.Sysctls", h.Sysctls, "kernel settings are the host's"},
		{"HostConfig.UTSMode", h.UTSMode, "it shares the host's name"},
		{"HostConfig.VolumeDriver", h.VolumeDriver, "volumes are kept by the engine's own driver"},
		{"HostConfig.Umask", h.Umask, "set it inside the container"},
	}
	for i := range h.Mounts {
		all = append(all, h.Mounts[i].refused()...)
	}
	return all
}

type refusal struct {
	field string
	value Unset
	why   string
}

// MountPoint is one entry of HostConfig.Mounts.
type MountPoint struct {
	Type           string         `json:"Type,omitzero"`
	Source         string         `json:"Source,omitzero"`
	Target         string         `json:"Target,omitzero"`
	ReadOnly       bool           `json:"ReadOnly,omitzero"`
	Consistency    Ignored        `json:"Consistency,omitzero"`
	BindOptions    *BindOptions   `json:"BindOptions,omitzero"`
	TmpfsOptions   *TmpfsOptions  `json:"TmpfsOptions,omitzero"`
	VolumeOptions  *VolumeOptions `json:"VolumeOptions,omitzero"`
	ImageOptions   Unset          `json:"ImageOptions,omitzero"`
	ClusterOptions Unset          `json:"ClusterOptions,omitzero"`
}

// refused lists every field of a mount that nobody may set, with the reason.
func (m *MountPoint) refused() []refusal {
	bind, tmpfs, volume := BindOptions{}, TmpfsOptions{}, VolumeOptions{}
	if m.BindOptions != nil {
		bind = *m.BindOptions
	}
	if m.TmpfsOptions != nil {
		tmpfs = *m.TmpfsOptions
	}
	if m.VolumeOptions != nil {
		volume = *m.VolumeOptions
	}
	return []refusal{
		{"HostConfig.Mounts.VolumeOptions.DriverConfig.Options", volume.DriverConfig.Options, "options of a volume's driver mount what is the host's"},
		{"HostConfig.Mounts.ImageOptions", m.ImageOptions, "images are not mounted"},
		{"HostConfig.Mounts.ClusterOptions", m.ClusterOptions, "there is no cluster here"},
		{"HostConfig.Mounts.BindOptions.CreateMountpoint", bind.CreateMountpoint, "it would make directories as root; make the directory first"},
		{"HostConfig.Mounts.BindOptions.ReadOnlyForceRecursive", bind.ReadOnlyForceRecursive, "one directory is mounted, and nothing below it"},
		{"HostConfig.Mounts.TmpfsOptions.Options", tmpfs.Options, "size and mode are served"},
	}
}

// BindOptions is how a directory is mounted.
type BindOptions struct {
	Propagation            string `json:"Propagation,omitzero"`
	NonRecursive           bool   `json:"NonRecursive,omitzero"`
	CreateMountpoint       Unset  `json:"CreateMountpoint,omitzero"`
	ReadOnlyNonRecursive   bool   `json:"ReadOnlyNonRecursive,omitzero"`
	ReadOnlyForceRecursive Unset  `json:"ReadOnlyForceRecursive,omitzero"`
}

// TmpfsOptions bounds a tmpfs; its pages count as the container's memory.
type TmpfsOptions struct {
	SizeBytes int64 `json:"SizeBytes,omitzero"`
	Mode      int   `json:"Mode,omitzero"`
	Options   Unset `json:"Options,omitzero"`
}

// LogConfig is where the container's output goes.
type LogConfig struct {
	Type   string            `json:"Type,omitzero"`
	Config map[string]string `json:"Config,omitzero"`
}

// RestartPolicy is when a container is to be started again. The engine gets
// "no" always.
type RestartPolicy struct {
	Name              string `json:"Name,omitzero"`
	MaximumRetryCount int    `json:"MaximumRetryCount,omitzero"`
}

// Ulimit is one resource limit of processes.
type Ulimit struct {
	Name string `json:"Name"`
	Soft int64  `json:"Soft"`
	Hard int64  `json:"Hard"`
}

// DeviceRequest is what --gpus asks for.
type DeviceRequest struct {
	Driver       string            `json:"Driver,omitzero"`
	Count        int               `json:"Count,omitzero"` // -1: all
	DeviceIDs    []string          `json:"DeviceIDs,omitzero"`
	Capabilities [][]string        `json:"Capabilities,omitzero"`
	Options      map[string]string `json:"Options,omitzero"`
}

// NetworkingConfig attaches the container to networks.
type NetworkingConfig struct {
	EndpointsConfig map[string]*Endpoint `json:"EndpointsConfig,omitzero"`
}

// Endpoint is one attachment; nothing in it may be chosen but names.
type Endpoint struct {
	IPAMConfig          Unset    `json:"IPAMConfig,omitzero"`
	Links               []string `json:"Links,omitzero"` // NAME:ALIAS, names of other containers there
	Aliases             []string `json:"Aliases,omitzero"`
	MacAddress          Unset    `json:"MacAddress,omitzero"`
	DriverOpts          Unset    `json:"DriverOpts,omitzero"`
	GwPriority          Unset    `json:"GwPriority,omitzero"`
	NetworkID           Ignored  `json:"NetworkID,omitzero"`
	EndpointID          Ignored  `json:"EndpointID,omitzero"`
	Gateway             Ignored  `json:"Gateway,omitzero"`
	IPAddress           Ignored  `json:"IPAddress,omitzero"`
	IPPrefixLen         Ignored  `json:"IPPrefixLen,omitzero"`
	IPv6Gateway         Ignored  `json:"IPv6Gateway,omitzero"`
	GlobalIPv6Address   Ignored  `json:"GlobalIPv6Address,omitzero"`
	GlobalIPv6PrefixLen Ignored  `json:"GlobalIPv6PrefixLen,omitzero"`
	DNSNames            Ignored  `json:"DNSNames,omitzero"`
}

func (e *Endpoint) asks() bool {
	return e != nil && (e.IPAMConfig.asked+e.MacAddress.asked+e.DriverOpts.asked+e.GwPriority.asked) != ""
}

// DecodeCreate reads the body of a create request. Errors are of kind
// problem.ErrInvalid.
func DecodeCreate(data []byte) (Create, error) {
	var c Create
	err := decode("Container not created", data, &c)
	return c, err
}
