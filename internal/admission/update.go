package admission

import (
	"errors"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

const notUpdated = "Container not updated"

// Update is the body of POST /containers/{id}/update in ds01's own words. As
// for Docker, what is left out or zero stays as it is.
type Update struct {
	CPUShares         int64         `json:"CpuShares,omitzero"`
	Memory            int64         `json:"Memory,omitzero"`
	NanoCPUs          int64         `json:"NanoCpus,omitzero"`
	CpusetCpus        string        `json:"CpusetCpus,omitzero"`
	MemoryReservation int64         `json:"MemoryReservation,omitzero"`
	MemorySwap        int64         `json:"MemorySwap,omitzero"`
	PidsLimit         *int64        `json:"PidsLimit,omitzero"`
	RestartPolicy     RestartPolicy `json:"RestartPolicy,omitzero"` // a client's is never sent

	BlkioDeviceReadBps   Unset `json:"BlkioDeviceReadBps,omitzero"`
	BlkioDeviceReadIOps  Unset `json:"BlkioDeviceReadIOps,omitzero"`
	BlkioDeviceWriteBps  Unset `json:"BlkioDeviceWriteBps,omitzero"`
	BlkioDeviceWriteIOps Unset `json:"BlkioDeviceWriteIOps,omitzero"`
	BlkioWeight          Unset `json:"BlkioWeight,omitzero"`
	BlkioWeightDevice    Unset `json:"BlkioWeightDevice,omitzero"`
	CgroupParent         Unset `json:"CgroupParent,omitzero"`
	CPUCount             Unset `json:"CpuCount,omitzero"`
	CPUPercent           Unset `json:"CpuPercent,omitzero"`
	CPUPeriod            Unset `json:"CpuPeriod,omitzero"`
	CPUQuota             Unset `json:"CpuQuota,omitzero"`
	CPURealtimePeriod    Unset `json:"CpuRealtimePeriod,omitzero"`
	CPURealtimeRuntime   Unset `json:"CpuRealtimeRuntime,omitzero"`
	CpusetMems           Unset `json:"CpusetMems,omitzero"`
	DeviceCgroupRules    Unset `json:"DeviceCgroupRules,omitzero"`
	DeviceRequests       Unset `json:"DeviceRequests,omitzero"`
	Devices              Unset `json:"Devices,omitzero"`
	Init                 Unset `json:"Init,omitzero"`
	IOMaximumBandwidth   Unset `json:"IOMaximumBandwidth,omitzero"`
	IOMaximumIOps        Unset `json:"IOMaximumIOps,omitzero"`
	KernelMemory         Unset `json:"KernelMemory,omitzero"`
	KernelMemoryTCP      Unset `json:"KernelMemoryTCP,omitzero"`
	MemorySwappiness     Unset `json:"MemorySwappiness,omitzero"`
	OomKillDisable       Unset `json:"OomKillDisable,omitzero"`
	Ulimits              Unset `json:"Ulimits,omitzero"`
}

// refused lists every field that nobody may set, with the reason.
func (u *Update) refused() []refusal {
	const (
		disk     = "disk rates are set by your limits"
		windows  = "it is for Windows"
		realTime = "real-time scheduling can starve the host"
		devices  = "devices are granted when a container is made"
	)
	return []refusal{
		{"BlkioDeviceReadBps", u.BlkioDeviceReadBps, disk},
		{"BlkioDeviceReadIOps", u.BlkioDeviceReadIOps, disk},
		{"BlkioDeviceWriteBps", u.BlkioDeviceWriteBps, disk},
		{"BlkioDeviceWriteIOps", u.BlkioDeviceWriteIOps, disk},
		{"BlkioWeight", u.BlkioWeight, disk},
		{"BlkioWeightDevice", u.BlkioWeightDevice, disk},
		{"CgroupParent", u.CgroupParent, "the cgroup carries your limits"},
		{"CpuCount", u.CPUCount, windows},
		{"CpuPercent", u.CPUPercent, windows},
		{"CpuPeriod", u.CPUPeriod, "write --cpus instead"},
		{"CpuQuota", u.CPUQuota, "write --cpus instead"},
		{"CpuRealtimePeriod", u.CPURealtimePeriod, realTime},
		{"CpuRealtimeRuntime", u.CPURealtimeRuntime, realTime},
		{"CpusetMems", u.CpusetMems, "memory nodes are the host's to choose"},
		{"DeviceCgroupRules", u.DeviceCgroupRules, devices},
		{"DeviceRequests", u.DeviceRequests, devices},
		{"Devices", u.Devices, devices},
		{"IOMaximumBandwidth", u.IOMaximumBandwidth, windows},
		{"IOMaximumIOps", u.IOMaximumIOps, windows},
		{"Init", u.Init, "it is chosen when a container is made"},
		{"KernelMemory", u.KernelMemory, "write --memory instead"},
		{"KernelMemoryTCP", u.KernelMemoryTCP, "write --memory instead"},
		{"MemorySwappiness", u.MemorySwappiness, "swap is set by your limits"},
		{"OomKillDisable", u.OomKillDisable, "a container over its memory must end"},
		{"Ulimits", u.Ulimits, "the engine can't change them; make the container anew"},
	}
}

// DecodeUpdate reads the body of an update. Errors are of kind
// problem.ErrInvalid.
func DecodeUpdate(data []byte) (Update, error) {
	var u Update
	err := decode(notUpdated, data, &u)
	return u, err
}

// Empty reports whether there is nothing in u to do.
func (u Update) Empty() bool { return u == Update{} }

// ReviewUpdate returns the update that is sent in place of u, and the restart
// policy that is wished, nil where nothing is said about it. The subject is
// the container's owner. What is negative asks for no limit, and becomes the
// limit. Errors are of kind problem.ErrDenied, ErrLimit or ErrInvalid.
func ReviewUpdate(u Update, s Subject) (Update, *container.RestartPolicy, error) {
	for _, r := range u.refused() {
		if r.value.asked != "" {
			return Update{}, nil, denied(notUpdated, r.field+" can't be changed: "+r.why, "Leave the option away.")
		}
	}
	wish, err := u.wish()
	if err != nil {
		return Update{}, nil, err
	}
	u, err = withinLimits(u, s)
	return u, wish, updating(err)
}

func (u *Update) wish() (*container.RestartPolicy, error) {
	policy := u.RestartPolicy
	u.RestartPolicy = RestartPolicy{}
	if policy.Name == "" {
		return nil, nil //nolint:nilnil // no wish is a good answer
	}
	wish, err := policy.wish(notUpdated)
	return &wish, err
}

// withinLimits has create's own reviews look at what u asks for.
func withinLimits(u Update, s Subject) (Update, error) {
	asked := Create{HostConfig: HostConfig{
		Memory: u.Memory, MemorySwap: u.MemorySwap, MemoryReservation: u.MemoryReservation,
		NanoCPUs: u.NanoCPUs, CPUShares: u.CPUShares, PidsLimit: u.PidsLimit,
	}}
	if u.Memory == 0 {
		asked.HostConfig.MemorySwap = 0 // it has to suit what the container has, which the engine looks at
	}
	if err := reviewMemory(&asked, s, Grant{}); err != nil {
		return Update{}, err
	}
	if err := reviewCPU(&asked, s, Grant{}); err != nil {
		return Update{}, err
	}
	h := asked.HostConfig
	u.MemoryReservation = h.MemoryReservation
	if u.NanoCPUs != 0 {
		u.NanoCPUs = h.NanoCPUs
	}
	if u.PidsLimit != nil && h.PidsLimit != nil { // nil: no limit is asked for, and there is none
		u.PidsLimit = h.PidsLimit
	}
	if u.Memory != 0 {
		u.Memory, u.MemorySwap = h.Memory, h.MemorySwap // the engine wants both to fit each other
		return u, nil
	}
	if u.MemorySwap == 0 || s.Limits.MemorySwap.Unlimited {
		return u, nil
	}
	var err error
	u.MemorySwap, err = within(s, "--memory-swap", "memory_swap", u.MemorySwap, s.Limits.MemorySwap, quantity.ByteSize.String)
	return u, err
}

// updating says of a refusal that create's review wrote what it is about here.
func updating(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.What == notUpdated {
		return err
	}
	return &problem.Error{What: notUpdated, Why: p.Why, Next: p.Next, Code: p.Code}
}

// ResourceUpdate returns the update that sets memory, processors and processes;
// zero leaves one as it is.
func ResourceUpdate(memory, nanoCPUs, pids int64, restart container.RestartPolicy) Update {
	u := Update{Memory: memory, NanoCPUs: nanoCPUs, RestartPolicy: RestartPolicy{Name: restart.Name, MaximumRetryCount: restart.MaxRetries}}
	if pids != 0 {
		u.PidsLimit = &pids
	}
	return u
}
