package limits

import "time"

// A keyID is the place of a limit in a layer, in the table, and in Values.
type keyID int

const (
	maxDevices keyID = iota
	maxPerContainer
	allowFullGPU
	maxShare
	priority
	maxCPUs
	memory
	memorySwap
	shmSize
	pidsLimit
	ioReadBPS
	ioWriteBPS
	ulimitNofile
	storageWorkspace
	storageData
	storageTmp
	storageScratch
	maxContainers
	maxRuntime
	idleTimeout
	gpuHold
	containerHold
	stopTimeout
	maxTasks
	mounts
	aggregateCPUs
	aggregateMemory
	aggregateMemoryHigh
	aggregateTasks
	gpuIdleThreshold
	cpuIdleThreshold
	networkIdleThreshold
	idleDetectionWindow
	diskIdleThreshold
	autoStopIdle
	gracePeriod
	createdTimeout
	keepAlive
	firstWarning
	lastWarning
	demandThreshold
	demandReduction
	calendar
	maxExtension
	keepContainers
	keepDuration
	keepDisk
	withoutMaxRuntime
	withoutIdleTimeout
	withoutContainerHold

	numKeys
)

// A key is one limit: how it is written, what applies where the file doesn't
// say, and whether anything enforces it.
type key struct {
	name     string
	kind     kind
	min      int64       // the smallest value; what is below would mean something else to the engine
	builtin  int64       // what applies where the file doesn't say
	roots    []MountRoot // the same, for a list of roots
	none     bool        // the same: no limit applies
	by       string      // what holds people to it
	inactive string      // why nothing does; either this or by is said
	bareUnit string      // the historic unit of a bare number; "" where it is an error
}

const (
	quotas  = "quotas are the file system's: setquota(8), xfs_quota(8)"
	ofTmp   = "a tmpfs counts as memory, and beside it the engine's disk is the bound"
	hosts   = "who may open the host's own devices is said by their modes and groups; 'gpu list' shows programs that no container explains"
	perDisk = " of the container's group, on each disk with the engine's data or the person's mounts"
	byClaim = "the claim, before the container exists; the kernel's device cgroup keeps everybody else off the device"
)

const (
	kib = int64(1) << 10
	mib = kib << 10
	gib = mib << 10
	cpu = int64(1_000_000_000)
	one = int64(840) // one GPU, as quantity.FullGPU
)

// smallest that the engine takes.
const (
	minCPU    = cpu / 100
	minMemory = 6 * mib
)

// table lists every limit. deploy/resource-limits.yaml says the same built-in
// values; a test there compares them.
func table() [numKeys]key {
	return [numKeys]key{
		maxDevices:      {name: "max_mig_instances", kind: count, builtin: 1, by: byClaim},
		maxPerContainer: {name: "max_gpus_per_container", kind: count, builtin: 1, by: byClaim},
		allowFullGPU:    {name: "allow_full_gpu", kind: truth, builtin: 1, by: byClaim},
		maxShare:        {name: "max_gpu_share", kind: share, builtin: one, by: byClaim},
		priority:        {name: "priority", kind: rank, builtin: 10, by: "the queue for GPUs: higher goes first"},

		maxCPUs:      {name: "max_cpus", kind: cpus, min: minCPU, builtin: 16 * cpu, by: "the kernel: `cpu.cfs_quota_us` or `cpu.max` of the container's group"},
		memory:       {name: "memory", kind: size, min: minMemory, builtin: 32 * gib, by: "the kernel: `memory.limit_in_bytes` or `memory.max` of the container's group"},
		memorySwap:   {name: "memory_swap", kind: size, min: minMemory, builtin: 32 * gib, by: "the kernel: `memory.memsw.limit_in_bytes` or `memory.swap.max` of the container's group"},
		shmSize:      {name: "shm_size", kind: size, min: 1, builtin: 16 * gib, by: "the kernel: the size of the container's `/dev/shm`"},
		pidsLimit:    {name: "pids_limit", kind: count, min: 1, builtin: 4096, by: "the kernel: `pids.max` of the container's group"},
		ioReadBPS:    {name: "io_read_bps", kind: size, min: 1, builtin: 500 * mib, by: "the kernel: `blkio.throttle.read_bps_device` or `io.max`" + perDisk},
		ioWriteBPS:   {name: "io_write_bps", kind: size, min: 1, builtin: 200 * mib, by: "the kernel: `blkio.throttle.write_bps_device` or `io.max`" + perDisk + "; cgroup v1 doesn't see what is written through the page cache"},
		ulimitNofile: {name: "ulimit_nofile", kind: count, min: 1, builtin: 65535, by: "the kernel: `RLIMIT_NOFILE` of the container's processes"},

		storageWorkspace: {name: "storage_workspace", kind: size, min: 1, builtin: 100 * gib, inactive: quotas},
		storageData:      {name: "storage_data", kind: size, min: 1, builtin: 200 * gib, inactive: quotas},
		storageTmp:       {name: "storage_tmp", kind: size, min: 1, builtin: 50 * gib, inactive: ofTmp},
		storageScratch:   {name: "storage_scratch", kind: size, min: 1, builtin: 500 * gib, inactive: quotas},

		maxContainers: {name: "max_containers_per_user", kind: count, builtin: 3, by: "the claim, before the container exists"},
		maxRuntime:    {name: "max_runtime", kind: duration, min: int64(time.Second), builtin: int64(24 * time.Hour), by: "the steward: the container is stopped when it has run for so long"},
		idleTimeout:   {name: "idle_timeout", kind: duration, min: int64(time.Second), builtin: int64(2 * time.Hour), by: "the steward: a container's GPU is taken back, or where that can't be done while it runs the container is stopped, when it has done nothing for so long"},
		gpuHold:       {name: "gpu_hold_after_stop", kind: duration, builtin: int64(15 * time.Minute), by: "the reconciler: a stopped container gives its GPU back after this time"},
		containerHold: {name: "container_hold_after_stop", kind: duration, builtin: int64(30 * time.Minute), by: "the steward: a stopped container is removed after this time, unless its owner keeps it"},
		stopTimeout:   {name: "stop_timeout", kind: duration, builtin: int64(30 * time.Second), by: "every door: the longest time between the signal to stop and the end"},
		maxTasks:      {name: "max_tasks", kind: count, min: 1, inactive: "aggregate.tasks holds; this is its value where that is not set"},
		mounts:        {name: "mounts", kind: rootList, roots: []MountRoot{{Path: Home}}, by: "every create and start; beyond it the kernel, with the person's own rights"},

		aggregateCPUs:       {name: "aggregate.cpus", kind: cpus, min: minCPU, builtin: 32 * cpu, by: "the kernel: `cpu.cfs_quota_us` or `cpu.max` of the person's group"},
		aggregateMemory:     {name: "aggregate.memory", kind: size, min: minMemory, builtin: 64 * gib, by: "the kernel: `memory.limit_in_bytes` or `memory.max` of the person's group"},
		aggregateMemoryHigh: {name: "aggregate.memory_high", kind: size, min: minMemory, builtin: 60 * gib, by: "the kernel: `memory.high` of the person's group; cgroup v1 has nothing like it, so there it is inactive"},
		aggregateTasks:      {name: "aggregate.tasks", kind: count, min: 1, builtin: 8192, by: "the kernel: `pids.max` of the person's group"},

		gpuIdleThreshold:     {name: "policies.gpu_idle_threshold", kind: percent, builtin: 5000, by: "the steward: from here on a GPU works"},
		cpuIdleThreshold:     {name: "policies.cpu_idle_threshold", kind: percent, builtin: 2000, by: "the steward: from here on the processors that a container may use work"},
		networkIdleThreshold: {name: "policies.network_idle_threshold", kind: size, builtin: mib, by: "the steward: from here on, per minute, it is work", bareUnit: "b"},
		idleDetectionWindow:  {name: "policies.idle_detection_window", kind: count, min: 1, builtin: 3, by: "the steward: so many looks in a row must have seen no work"},
		diskIdleThreshold:    {name: "policies.disk_idle_threshold", kind: size, builtin: mib, by: "the steward: from here on, per minute, it is work"},
		autoStopIdle:         {name: "policies.auto_stop_idle", kind: truth, builtin: 1, by: "the steward: `false` leaves idle containers alone"},
		gracePeriod:          {name: "policies.grace_period", kind: duration, builtin: int64(30 * time.Minute), by: "the steward: after each start no time counts as idle for so long"},
		createdTimeout:       {name: "policies.created_container_timeout", kind: duration, builtin: int64(30 * time.Minute), by: "the steward: what was made and not started is removed after this time"},
		keepAlive:            {name: "policies.keepalive_max_duration", kind: duration, builtin: int64(24 * time.Hour), by: "the steward: for so long a file `.keep-alive` in the workspace lets an idle container be"},
		firstWarning:         {name: "policies.first_warning", kind: fraction, builtin: 800, by: "the steward: when the owner is warned first, as a part of each time"},
		lastWarning:          {name: "policies.last_warning", kind: fraction, builtin: 950, by: "the steward: when the owner is warned last; nothing is done sooner after it than from here to the end"},
		demandThreshold:      {name: "policies.high_demand_threshold", kind: fraction, builtin: 800, by: "the steward: from this part of all devices in use on, `idle_timeout` is shorter"},
		demandReduction:      {name: "policies.high_demand_idle_reduction", kind: fraction, builtin: 500, by: "the steward: `idle_timeout` is multiplied by it then"},
		calendar:             {name: "policies.calendar", kind: hoursList, by: "the steward: in these hours `idle_timeout` is multiplied by `idle_factor`, or idle containers are left alone"},

		maxExtension:         {name: "max_extension", kind: duration, builtin: int64(24 * time.Hour), by: "`container extend`: by so much one run may be put off in all"},
		keepContainers:       {name: "keep.containers", kind: count, builtin: 2, by: "`container keep`, and `--keep-container`"},
		keepDuration:         {name: "keep.duration", kind: duration, min: int64(time.Second), builtin: int64(14 * 24 * time.Hour), by: "the steward: a container that is kept is removed after this time"},
		keepDisk:             {name: "keep.disk", kind: size, min: 1, builtin: 50 * gib, by: "`container keep`, and `--keep-container`"},
		withoutMaxRuntime:    {name: "without_gpu.max_runtime", kind: duration, min: int64(time.Second), none: true, by: "the steward"},
		withoutIdleTimeout:   {name: "without_gpu.idle_timeout", kind: duration, min: int64(time.Second), none: true, by: "the steward, also for what has lost its GPU"},
		withoutContainerHold: {name: "without_gpu.container_hold_after_stop", kind: duration, none: true, by: "the steward"},
	}
}
