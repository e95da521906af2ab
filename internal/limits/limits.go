// Package limits decides what each person may use: it reads the limits file
// and the members files, resolves them for an account, and says of every value
// which rule it came from. It does not read files or clocks, enforce anything,
// or know what anybody holds.
package limits

import (
	"fmt"
	"slices"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// Limits is everything that bounds one person. Each field that is a
// quantity.Limit may be unlimited. A field's key in the limits file stands
// behind it; whether anything enforces it is in Values.
type Limits struct {
	Group       string   // the limits group that applies; "" when only defaults do
	OtherGroups []string // groups the person is in too, which don't apply
	Override    bool     // a user_overrides entry applies

	MaxDevices          quantity.Limit[int]               // max_mig_instances: cards and MIG instances over all containers
	MaxGPUsPerContainer quantity.Limit[int]               // max_gpus_per_container
	AllowFullGPU        bool                              // allow_full_gpu
	MaxGPUShare         quantity.Limit[quantity.GPUShare] // max_gpu_share: over all containers
	Priority            int                               // priority: higher goes first

	MaxCPUs      quantity.Limit[quantity.CPUs]     // max_cpus, per container
	Memory       quantity.Limit[quantity.ByteSize] // memory, per container
	MemorySwap   quantity.Limit[quantity.ByteSize] // memory_swap: memory and swap together, never below Memory
	ShmSize      quantity.Limit[quantity.ByteSize] // shm_size, per container
	PidsLimit    quantity.Limit[int64]             // pids_limit, per container
	MaxTasks     quantity.Limit[int64]             // max_tasks: older name of aggregate.tasks, which holds
	IOReadBPS    quantity.Limit[quantity.ByteSize] // io_read_bps: bytes per second, per container and disk
	IOWriteBPS   quantity.Limit[quantity.ByteSize] // io_write_bps: bytes per second, per container and disk
	UlimitNofile quantity.Limit[int64]             // ulimit_nofile: open files per process
	Storage      Storage

	MaxContainers          quantity.Limit[int]           // max_containers_per_user
	MaxRuntime             quantity.Limit[time.Duration] // max_runtime
	IdleTimeout            quantity.Limit[time.Duration] // idle_timeout
	GPUHoldAfterStop       quantity.Limit[time.Duration] // gpu_hold_after_stop: 0 gives back at once
	ContainerHoldAfterStop quantity.Limit[time.Duration] // container_hold_after_stop
	StopTimeout            quantity.Limit[time.Duration] // stop_timeout: from the stop signal to the kill

	MaxExtension quantity.Limit[time.Duration] // max_extension: by which max_runtime may be put off, per container

	Mounts     []MountRoot // mounts: in the order of the file
	Aggregate  Aggregate
	Keep       Keep
	WithoutGPU WithoutGPU
	Policies   Policies

	settings *layer // read only, shared between people
}

// Storage bounds what a person may store in each place.
type Storage struct {
	Workspace quantity.Limit[quantity.ByteSize] // storage_workspace
	Data      quantity.Limit[quantity.ByteSize] // storage_data
	Tmp       quantity.Limit[quantity.ByteSize] // storage_tmp
	Scratch   quantity.Limit[quantity.ByteSize] // storage_scratch
}

// Aggregate bounds one person's containers together.
type Aggregate struct {
	CPUs       quantity.Limit[quantity.CPUs]     // aggregate.cpus
	Memory     quantity.Limit[quantity.ByteSize] // aggregate.memory
	MemoryHigh quantity.Limit[quantity.ByteSize] // aggregate.memory_high: from here on the kernel throttles
	Tasks      quantity.Limit[int64]             // aggregate.tasks
}

// Keep bounds what of one person's containers is kept after they stop, because
// they asked for it.
type Keep struct {
	Containers quantity.Limit[int]               // keep.containers
	Duration   quantity.Limit[time.Duration]     // keep.duration: from the stop on
	Disk       quantity.Limit[quantity.ByteSize] // keep.disk: what each has written beyond its image
}

// WithoutGPU holds in place of the limits of these names for containers that
// were never to have a GPU.
type WithoutGPU struct {
	MaxRuntime             quantity.Limit[time.Duration] // without_gpu.max_runtime
	IdleTimeout            quantity.Limit[time.Duration] // without_gpu.idle_timeout
	ContainerHoldAfterStop quantity.Limit[time.Duration] // without_gpu.container_hold_after_stop
}

// Policies say what counts as idle and how people are told.
type Policies struct {
	AutoStopIdle         bool                              // policies.auto_stop_idle
	GPUIdleThreshold     float64                           // policies.gpu_idle_threshold: percent
	CPUIdleThreshold     float64                           // policies.cpu_idle_threshold: percent of what the container may use
	NetworkIdleThreshold quantity.Limit[quantity.ByteSize] // policies.network_idle_threshold: per minute
	DiskIdleThreshold    quantity.Limit[quantity.ByteSize] // policies.disk_idle_threshold: per minute
	IdleWindow           int                               // policies.idle_detection_window: looks in a row
	Grace                quantity.Limit[time.Duration]     // policies.grace_period: after each start
	CreatedTimeout       quantity.Limit[time.Duration]     // policies.created_container_timeout: until the first start
	KeepAlive            quantity.Limit[time.Duration]     // policies.keepalive_max_duration
	FirstWarning         float64                           // policies.first_warning: of the time, 0 to 1
	LastWarning          float64                           // policies.last_warning: of the time, 0 to 1
	DemandThreshold      float64                           // policies.high_demand_threshold: of all devices, 0 to 1
	DemandReduction      float64                           // policies.high_demand_idle_reduction: idle_timeout is multiplied by it
	Calendar             []Hours                           // policies.calendar: the first that fits holds
}

// A Source is where a value came from.
type Source struct {
	Rule string // "defaults", "policies", "groups.NAME", "user_overrides.NAME", "built-in" or "host"
	File string // "" for built-in and host
	Line int    // 1-based; 0 for built-in and host
}

// String returns "groups.student, resource-limits.yaml:12", or the rule alone
// where no file says it.
func (s Source) String() string {
	if s.File == "" {
		return s.Rule
	}
	return fmt.Sprintf("%s, %s:%d", s.Rule, s.File, s.Line)
}

// A Value is one limit as people read it.
type Value struct {
	Key       string // as in the limits file, "aggregate.cpus"
	Text      string // "32GiB"; "unlimited"; "16, host has 2" when clamped
	Unlimited bool
	Source    Source
	Inactive  string // why nothing enforces it; "" when it is enforced
}

// Source returns where the value of a key came from, such as "memory" or
// "aggregate.cpus". It is the zero Source for an unknown key, and for Limits
// that did not come from Resolve.
func (l Limits) Source(name string) Source {
	if l.settings == nil {
		return Source{}
	}
	for i, k := range table() {
		if k.name == name {
			return l.settings[i].source
		}
	}
	return Source{}
}

// Enforced reports whether something holds people to the limit of this key.
func (l Limits) Enforced(name string) bool {
	for _, v := range l.Values() {
		if v.Key == name {
			return v.Inactive == ""
		}
	}
	return false
}

// Values returns every limit in a fixed order, or nil for Limits that did not
// come from Resolve.
func (l Limits) Values() []Value {
	if l.settings == nil {
		return nil
	}
	values := make([]Value, 0, numKeys)
	for i, k := range table() {
		s := &l.settings[i]
		v := Value{Key: k.name, Text: s.describe(k.kind), Unlimited: s.unlimited, Source: s.source, Inactive: k.inactive}
		if s.inactive != "" {
			v.Inactive = s.inactive
		}
		values = append(values, v)
	}
	return values
}

// A setting is the value of one key in one layer.
type setting struct {
	set       bool
	unlimited bool
	n         int64 // in the unit of the key's kind
	roots     []MountRoot
	hours     []Hours
	source    Source
	note      string // replaces the value in what people read
	inactive  string // replaces the key's own
}

func (s *setting) describe(k kind) string {
	switch {
	case s.note != "":
		return s.note
	case s.unlimited:
		return "unlimited"
	case k == rootList:
		return formatRoots(s.roots)
	case k == hoursList:
		return formatCalendar(s.hours)
	default:
		return k.format(s.n)
	}
}

// A layer is what one rule says, or what several say laid over each other.
type layer [numKeys]setting

// lay puts what over sets on top of l.
func (l *layer) lay(over *layer) {
	for i := range over {
		if over[i].set {
			l[i] = over[i]
		}
	}
}

// limits returns the layer with names and types. The layer must not change
// afterwards.
func (l *layer) limits() Limits {
	return Limits{
		MaxDevices:          number[int](l, maxDevices),
		MaxGPUsPerContainer: number[int](l, maxPerContainer),
		AllowFullGPU:        l[allowFullGPU].n != 0,
		MaxGPUShare:         number[quantity.GPUShare](l, maxShare),
		Priority:            int(l[priority].n),
		MaxCPUs:             number[quantity.CPUs](l, maxCPUs),
		Memory:              number[quantity.ByteSize](l, memory),
		MemorySwap:          number[quantity.ByteSize](l, memorySwap),
		ShmSize:             number[quantity.ByteSize](l, shmSize),
		PidsLimit:           number[int64](l, pidsLimit),
		MaxTasks:            number[int64](l, maxTasks),
		IOReadBPS:           number[quantity.ByteSize](l, ioReadBPS),
		IOWriteBPS:          number[quantity.ByteSize](l, ioWriteBPS),
		UlimitNofile:        number[int64](l, ulimitNofile),
		Storage: Storage{
			Workspace: number[quantity.ByteSize](l, storageWorkspace),
			Data:      number[quantity.ByteSize](l, storageData),
			Tmp:       number[quantity.ByteSize](l, storageTmp),
			Scratch:   number[quantity.ByteSize](l, storageScratch),
		},
		MaxContainers:          number[int](l, maxContainers),
		MaxRuntime:             number[time.Duration](l, maxRuntime),
		IdleTimeout:            number[time.Duration](l, idleTimeout),
		GPUHoldAfterStop:       number[time.Duration](l, gpuHold),
		ContainerHoldAfterStop: number[time.Duration](l, containerHold),
		StopTimeout:            number[time.Duration](l, stopTimeout),
		MaxExtension:           number[time.Duration](l, maxExtension),
		Mounts:                 slices.Clone(l[mounts].roots),
		Aggregate: Aggregate{
			CPUs:       number[quantity.CPUs](l, aggregateCPUs),
			Memory:     number[quantity.ByteSize](l, aggregateMemory),
			MemoryHigh: number[quantity.ByteSize](l, aggregateMemoryHigh),
			Tasks:      number[int64](l, aggregateTasks),
		},
		Keep: Keep{
			Containers: number[int](l, keepContainers),
			Duration:   number[time.Duration](l, keepDuration),
			Disk:       number[quantity.ByteSize](l, keepDisk),
		},
		WithoutGPU: WithoutGPU{
			MaxRuntime:             number[time.Duration](l, withoutMaxRuntime),
			IdleTimeout:            number[time.Duration](l, withoutIdleTimeout),
			ContainerHoldAfterStop: number[time.Duration](l, withoutContainerHold),
		},
		Policies: l.policies(),
		settings: l,
	}
}

func (l *layer) policies() Policies {
	return Policies{
		AutoStopIdle:         l[autoStopIdle].n != 0,
		GPUIdleThreshold:     l[gpuIdleThreshold].thousandths(),
		CPUIdleThreshold:     l[cpuIdleThreshold].thousandths(),
		NetworkIdleThreshold: number[quantity.ByteSize](l, networkIdleThreshold),
		DiskIdleThreshold:    number[quantity.ByteSize](l, diskIdleThreshold),
		IdleWindow:           int(l[idleDetectionWindow].n),
		Grace:                number[time.Duration](l, gracePeriod),
		CreatedTimeout:       number[time.Duration](l, createdTimeout),
		KeepAlive:            number[time.Duration](l, keepAlive),
		FirstWarning:         l[firstWarning].thousandths(),
		LastWarning:          l[lastWarning].thousandths(),
		DemandThreshold:      l[demandThreshold].thousandths(),
		DemandReduction:      l[demandReduction].thousandths(),
		Calendar:             slices.Clone(l[calendar].hours),
	}
}

// thousandths returns the value of a percentage or a fraction.
func (s *setting) thousandths() float64 { return float64(s.n) / 1000 }

func number[T ~int | ~int64](l *layer, id keyID) quantity.Limit[T] {
	if l[id].unlimited {
		return quantity.None[T]()
	}
	return quantity.To(T(l[id].n))
}
