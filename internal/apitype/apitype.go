// Package apitype holds the JSON bodies of the daemon's API: types only.
// Times are RFC 3339 UTC, sizes bytes, durations seconds, keys snake_case.
//
// Routes (unix socket /run/ds01/ds01.sock; errors are RFC 9457 documents):
//
//	GET    /v1/version                       Version          anybody on the host
//	GET    /v1/me                            Me               anybody
//	GET    /v1/doctor                        Doctor           anybody; more for admins
//	GET    /v1/gpus                          []GPU            users
//	POST   /v1/gpus/{uuid}/sim               SimReading → 204 admins, sim provider only
//	GET    /v1/mig                           MIG              admins
//	POST   /v1/mig/plan                      LayoutFile → MIGPlan, admins; nothing is done
//	POST   /v1/mig/apply                     LayoutFile → stream of MIGProgress, admins
//	POST   /v1/gpus/{uuid}/drain             Drain → Card     admins; {uuid} of a card, or its index
//	DELETE /v1/gpus/{uuid}/drain             → Card           admins
//	GET    /v1/queue                         []QueuePlace     users
//	POST   /v1/queue                         JoinQueue → QueuePlace
//	GET    /v1/queue/{id}[?wait=SECONDS]     QueuePlace       own
//	DELETE /v1/queue/{id}                    → 204            own
//	GET    /v1/reservations                  []Reservation    users
//	POST   /v1/reservations                  Reserve → Reservation, admins
//	DELETE /v1/reservations/{id}             → 204 admins
//	GET    /v1/containers[?all_users=true]   []Container      users; all_users: admins
//	POST   /v1/containers                    CreateContainer → Container
//	GET    /v1/containers/{name}             Container
//	POST   /v1/containers/{name}/start       → Container
//	POST   /v1/containers/{name}/stop        StopContainer → Container
//	POST   /v1/containers/{name}/update      UpdateContainer → Container
//	POST   /v1/containers/{name}/pause       → Container
//	POST   /v1/containers/{name}/unpause     → Container
//	POST   /v1/containers/{name}/rename      RenameContainer → Container
//	POST   /v1/containers/{name}/extend      Extend → Container
//	POST   /v1/containers/{name}/keep        → Container
//	DELETE /v1/containers/{name}/keep        → Container
//	POST   /v1/containers/{name}/protect     → Container, admins
//	DELETE /v1/containers/{name}/protect     → Container, admins
//	GET    /v1/exemptions                    []Exemption, admins
//	POST   /v1/exemptions                    Exemption → Exemption, admins
//	DELETE /v1/exemptions/{user}             → 204, admins
//	DELETE /v1/containers/{name}[?force=true] → 204
//	POST   /v1/containers/{name}/adopt       Adopt → Container, admins
//	GET    /v1/images[?all_users=true]       []Image          shared ones and own; all_users: admins
//	DELETE /v1/images?name=NAME[&force=true] → []RemovedImage
//	POST   /v1/images/share                  NameImage → ImageName
//	POST   /v1/images/unshare                NameImage → ImageName
//	GET    /v1/stats[?all_users=true]        []Stats          running containers
//	GET    /v1/limits[?all=true|user=NAME]   []UserLimits     others': admins
//	POST   /v1/limits/diff                   LimitsFile → []LimitChange, admins
//	POST   /v1/policy/eval                   TryContainer → Explanation; nothing is done
//	GET    /v1/dashboard                     Dashboard        users; admins see everybody
//	GET    /v1/audit[?of=NAME&since=TIME&denied=true&limit=N] []event.Event, admins
//
// A {name} is the caller's own name for a container, its id or a unique
// prefix of it; for admins also the engine's name "<name>._.<uid>". With
// ?user=NAME an admin acts for somebody else.
// Streams (attach, exec, logs) go through the Docker API under /docker/.
package apitype

import (
	"time"

	"ds01.dev/ds01/internal/problem"
)

// Version tells what answers.
type Version struct {
	Version       string `json:"version"`
	EngineVersion string `json:"engine_version,omitempty"` // "" while the engine is down
	EngineAPI     string `json:"engine_api,omitempty"`
	Isolation     string `json:"isolation,omitempty"`     // "userns" or "uid"
	CgroupVersion int    `json:"cgroup_version"`          // 1 or 2
	GPUProvider   string `json:"gpu_provider"`            // "nvml" or "sim"
	DefaultImage  string `json:"default_image,omitempty"` // what create uses when nothing is named
}

// Me tells the caller who they are to ds01.
type Me struct {
	User        string   `json:"user"`
	UID         int      `json:"uid"`
	Home        string   `json:"home"`
	Groups      []string `json:"groups"`
	Docker      bool     `json:"docker"`   // may use containers
	GPU         bool     `json:"gpu"`      // may hold GPUs
	Priority    bool     `json:"priority"` // stands in the priority class
	Admin       bool     `json:"admin"`
	LimitsGroup string   `json:"limits_group"`
}

// Container states, as the engine names them.
const (
	StateCreated = "created"
	StateRunning = "running"
	StatePaused  = "paused"
	StateExited  = "exited"
	StateDead    = "dead"
	StatePending = "pending" // claimed, the engine hasn't confirmed it

	StateRestarting = "restarting" // it has ended, and ds01 will start it again
)

// Container is one container as its owner sees it.
type Container struct {
	ID          string     `json:"id"` // full engine id, "" while pending
	Name        string     `json:"name"`
	EngineName  string     `json:"engine_name"`
	User        string     `json:"user"` // owner's login name, "" when quarantined
	UID         int        `json:"uid"`  // -1 when quarantined
	Image       string     `json:"image"`
	State       string     `json:"state"`
	ExitCode    int        `json:"exit_code"`
	CreatedAt   time.Time  `json:"created_at"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	Interface   string     `json:"interface"`
	Origin      string     `json:"origin,omitempty"`     // terminal, ssh-command, cron, at, timer, service: where its making was asked for
	Workspace   string     `json:"workspace,omitempty"`  // host path at /workspace
	GPUs        []GPUGrant `json:"gpus"`                 // what the claim holds or held
	ClaimState  string     `json:"claim_state"`          // pending, bound, running, held, released, quarantined
	HeldUntil   *time.Time `json:"held_until,omitempty"` // when a stopped container gives its GPUs back
	Quarantined bool       `json:"quarantined,omitempty"`
	Time        *Time      `json:"time,omitempty"` // how it stands with its time; absent while that isn't known

	ReservedFor  string     `json:"reserved_for,omitempty"`  // who has a device of it reserved, soon or by now; in lists only
	ReservedFrom *time.Time `json:"reserved_from,omitempty"` // and from when
	Warnings     []string   `json:"warnings,omitempty"`      // of its creation; in the answer to that alone

	OutOfMemory    *Killed   `json:"out_of_memory,omitempty"`   // what the kernel ended in it since somebody started it
	MemoryDeferred *Deferral `json:"memory_deferred,omitempty"` // its memory is to be lower than what it uses

	RestartPolicy  string     `json:"restart_policy"`            // no, always, unless-stopped, on-failure or on-failure:N
	RestartCount   int        `json:"restart_count"`             // starts by ds01 since somebody started it
	RestartAt      *time.Time `json:"restart_at,omitempty"`      // when it is started next
	RestartProblem string     `json:"restart_problem,omitempty"` // what kept it from starting when that was due
}

// Time is how a container stands with its time, as of the last look at it.
type Time struct {
	Activity        string     `json:"activity"`                   // what it works at: "GPU 83%"; "": nothing that was seen
	Sampled         bool       `json:"sampled"`                    // what it does was seen
	Deadlines       []Deadline `json:"deadlines"`                  // what is to happen, the next first
	ExtendedSeconds int64      `json:"extended_seconds,omitempty"` // by which the end of its runtime was put off
	DeclaredSeconds int64      `json:"declared_seconds,omitempty"` // for which one run of it lasts at most, by its owner's word
	Kept            bool       `json:"kept,omitempty"`             // it is kept when it stops
	Protected       bool       `json:"protected,omitempty"`        // nothing is done to it
}

// Deadline is something that happens to a container in time.
type Deadline struct {
	Cause        string    `json:"cause"`  // idle, runtime, hold or never-started
	Action       string    `json:"action"` // take (its GPUs), stop or remove
	SpentSeconds int64     `json:"spent_seconds"`
	LimitSeconds int64     `json:"limit_seconds"`
	LeftSeconds  int64     `json:"left_seconds"`
	Due          time.Time `json:"due"`             // if nothing changes
	Waits        string    `json:"waits,omitempty"` // why no time goes by now
}

// Extend puts off the end of a container's runtime.
type Extend struct {
	Seconds int64 `json:"seconds"`
}

// Exemption lets a person's containers be.
type Exemption struct {
	User   string     `json:"user"`
	From   []string   `json:"from"` // idle, runtime, hold
	Reason string     `json:"reason"`
	By     string     `json:"by,omitempty"`    // who has granted it; in answers
	Made   *time.Time `json:"made,omitempty"`  // in answers
	Until  *time.Time `json:"until,omitempty"` // absent: for good
}

// Killed is the last process of a container that was ended for want of memory.
type Killed struct {
	At         time.Time `json:"at"`
	Limit      string    `json:"limit"`       // whose had been reached: container, person, host or other
	LimitBytes int64     `json:"limit_bytes"` // which it was; 0: not known
	Process    string    `json:"process"`
	HeldBytes  int64     `json:"held_bytes"` // by the process; 0: not known
	Count      int       `json:"count"`      // how many were ended
	Why        string    `json:"why"`
	Next       string    `json:"next"`
}

// Deferral is a limit of memory that is to be lower than what is in use: it is
// lowered as less is used, and nothing is ended for it.
type Deferral struct {
	WantedBytes int64 `json:"wanted_bytes"`
	ForNowBytes int64 `json:"for_now_bytes"` // 0: no limit
}

// GPUGrant is a device that a container holds.
type GPUGrant struct {
	UUID    string `json:"uuid"`
	Slot    string `json:"slot"`
	Profile string `json:"profile"` // "full" or the MIG profile
	Model   string `json:"model"`
	Problem string `json:"problem,omitempty"` // why it isn't granted any more
}

// CreateContainer asks for a container as `container create` makes it: the
// caller's uid, home, workspace, and a shell that waits.
type CreateContainer struct {
	Name      string `json:"name"`
	Image     string `json:"image,omitempty"`       // "": the configured default
	GPUs      int    `json:"gpus"`                  // so many of any kind; 0: none
	Wanted    string `json:"gpu_request,omitempty"` // what else of GPUs, instead of a number: "2x1g.10gb,full", "40GiB", "all"
	Workspace string `json:"workspace,omitempty"`   // host directory for /workspace, must exist; "": none
	Data      string `json:"data,omitempty"`        // host directory for /data
	Models    string `json:"models,omitempty"`      // host directory for /models
	Interface string `json:"interface,omitempty"`   // "orchestration" or "atomic" (default)
	Restart   string `json:"restart,omitempty"`     // restart policy; "": no
	Keep      bool   `json:"keep,omitempty"`        // it is kept when it stops

	TimeSeconds int64 `json:"time_seconds,omitempty"` // for which one run of it lasts at most; 0: as long as max_runtime allows
}

// UpdateContainer changes a container within its owner's limits. What is zero
// stays as it is.
type UpdateContainer struct {
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	NanoCPUs    int64  `json:"nano_cpus,omitempty"` // billionths of a CPU
	Pids        int64  `json:"pids,omitempty"`
	Restart     string `json:"restart,omitempty"`
}

// AddGPUs asks for GPUs beside those that a container has, as gpu.ParseRequest
// reads it.
type AddGPUs struct {
	Request string `json:"request"`
}

// ReleaseGPUs takes GPUs from a container, by slot or UUID; none means all. With
// Force, processes that have them open are ended.
type ReleaseGPUs struct {
	Devices []string `json:"devices,omitempty"`
	Force   bool     `json:"force,omitempty"`
}

// StopContainer carries an optional grace period.
type StopContainer struct {
	TimeoutSeconds *int `json:"timeout_seconds,omitempty"` // nil: the owner's stop_timeout
	Keep           bool `json:"keep,omitempty"`            // it is kept from now on
	GiveBack       bool `json:"give_back,omitempty"`       // its GPUs aren't held for it
}

// RenameContainer carries a container's new name.
type RenameContainer struct {
	Name string `json:"name"`
}

// Adopt gives a quarantined container to a user.
type Adopt struct {
	User string `json:"user"`
	Name string `json:"name,omitempty"` // "": from the engine's name
}

// Stats is what one running container uses now.
type Stats struct {
	ID               string     `json:"id"`
	Name             string     `json:"name"`
	User             string     `json:"user"`
	CPUPercent       float64    `json:"cpu_percent"` // 100 = one core, over the last sampling window
	MemoryBytes      int64      `json:"memory_bytes"`
	MemoryLimitBytes int64      `json:"memory_limit_bytes"` // 0: none
	Pids             int64      `json:"pids"`
	GPUs             []GPUUsage `json:"gpus"`

	MemoryPeakBytes     int64   `json:"memory_peak_bytes"`     // the most, page cache included, since it was started; 0: not known yet
	CPUThrottledPercent float64 `json:"cpu_throttled_percent"` // of the last ten seconds or so in which it wanted more than its limit
}

// GPUUsage is what one device does now.
type GPUUsage struct {
	UUID               string  `json:"uuid"`
	Slot               string  `json:"slot"`
	UtilizationPercent int     `json:"utilization_percent"` // -1: unknown
	MemoryUsedBytes    int64   `json:"memory_used_bytes"`
	MemoryBytes        int64   `json:"memory_bytes"`
	PowerWatts         float64 `json:"power_watts"`
	TemperatureC       int     `json:"temperature_c"`
}

// GPU is one grantable device with its holder.
type GPU struct {
	GPUUsage
	Card    int     `json:"card"`
	Model   string  `json:"model"`
	Profile string  `json:"profile"`           // "full" or the MIG profile
	Share   float64 `json:"share"`             // of a whole GPU, 0 to 1
	Problem string  `json:"problem,omitempty"` // why it isn't granted
	Next    string  `json:"next,omitempty"`    // what an administrator does about that
	Holder  *Holder `json:"holder,omitempty"`  // nil: free

	Strangers []Process `json:"strangers,omitempty"` // that no claim explains: while they are there it isn't granted
}

// Process is one process on a device.
type Process struct {
	PID         int    `json:"pid"`
	User        string `json:"user,omitempty"`
	Command     string `json:"command,omitempty"` // its first word
	MemoryBytes int64  `json:"memory_bytes"`      // of the device, -1: unknown
}

// Drain keeps a card and its instances from being granted.
type Drain struct {
	Reason string `json:"reason,omitempty"`
}

// Card is a whole card, and what keeps it from being granted.
type Card struct {
	UUID    string     `json:"uuid"`
	Card    int        `json:"card"`
	Model   string     `json:"model"`
	Drained bool       `json:"drained"`
	Reason  string     `json:"reason,omitempty"`
	By      string     `json:"by,omitempty"` // who drained it
	Since   *time.Time `json:"since,omitempty"`
	Problem string     `json:"problem,omitempty"` // what else is wrong with it
	Next    string     `json:"next,omitempty"`    // what an administrator does about that
	Holders []string   `json:"holders"`           // "alice (train) on 0.1": whose work goes on
}

// Holder is who holds a device. Container and Until are shown to the holder
// and to admins only.
type Holder struct {
	User      string     `json:"user"`
	UID       int        `json:"uid"`
	Container string     `json:"container,omitempty"`
	State     string     `json:"state"` // pending, bound, running, held, quarantined
	Until     *time.Time `json:"until,omitempty"`
}

// GPUWhy is what somebody could have of GPUs now, or what one container has of
// them, and why.
type GPUWhy struct {
	User    string            `json:"user"`
	Asked   string            `json:"asked"`             // "2x1g.10gb"; "" about a container
	Granted bool              `json:"granted"`           // what was asked for would be, or the container would start
	Devices []GPUGrant        `json:"devices"`           // that would be granted, or that the container was made with
	Reason  string            `json:"reason,omitempty"`  // of a container: why it holds them, or doesn't
	Until   *time.Time        `json:"until,omitempty"`   // of a container: when it gives them back
	Refusal *problem.Document `json:"refusal,omitempty"` // why not
	Notes   []string          `json:"notes"`
	Kinds   []GPUKind         `json:"kinds"`  // of this host, the least first
	Limits  []Limit           `json:"limits"` // on GPUs
	Usage   []Usage           `json:"usage"`  // of GPUs
}

// GPUKind is what a host has of one profile.
type GPUKind struct {
	Profile     string            `json:"profile"` // "full" or the MIG profile
	MemoryBytes int64             `json:"memory_bytes"`
	Share       float64           `json:"share"`      // of a whole card
	ShareText   string            `json:"share_text"` // "1/7"
	Total       int               `json:"total"`
	Free        int               `json:"free"`
	Most        int               `json:"most"`              // that one more container could have now
	Refusal     *problem.Document `json:"refusal,omitempty"` // why Most is 0
}

// SimReading sets what a simulated device reports; nil leaves a value alone.
type SimReading struct {
	UtilizationPercent *int     `json:"utilization_percent,omitempty"`
	MemoryUsedBytes    *int64   `json:"memory_used_bytes,omitempty"`
	PowerWatts         *float64 `json:"power_watts,omitempty"`
	TemperatureC       *int     `json:"temperature_c,omitempty"`
	XID                *int     `json:"xid,omitempty"`                   // an error that happens now
	ECCErrors          *int64   `json:"uncorrectable_errors,omitempty"`  // of a card's memory, until a reset
	RowRemap           *string  `json:"row_remap,omitempty"`             // of a card: "none", "pending" or "failed"
	RetirePending      *bool    `json:"retired_pages_pending,omitempty"` // of a card
	Processes          *[]int   `json:"processes,omitempty"`             // that use the device from now on, by PID
	Lost               *bool    `json:"lost,omitempty"`                  // a card doesn't answer any more, or does again
	Unreadable         *bool    `json:"unreadable,omitempty"`            // reading what a card does fails, or works again
}

// What SimReading's RowRemap may be.
const (
	RemapNone    = "none"
	RemapPending = "pending"
	RemapFailed  = "failed"
)

// UserLimits is what one person may use and uses.
type UserLimits struct {
	User        string   `json:"user"`
	UID         int      `json:"uid"`
	Group       string   `json:"group"`
	OtherGroups []string `json:"other_groups,omitempty"`
	Override    bool     `json:"override"` // a user_overrides entry applies
	Limits      []Limit  `json:"limits"`
	Usage       []Usage  `json:"usage"`
}

// Limit is one resolved value and the rule it came from.
type Limit struct {
	Key       string `json:"key"`
	Value     string `json:"value"` // as written in the limits file; "no limit"
	Unlimited bool   `json:"unlimited"`
	Source    string `json:"source"`             // "groups.student, resource-limits.yaml:12"
	Inactive  string `json:"inactive,omitempty"` // why nothing enforces it yet

	Deferred *Deferral `json:"deferred,omitempty"` // more is in use than that
}

// Usage is one quantity in use against its limit.
type Usage struct {
	Key       string  `json:"key"` // the limit's key
	Label     string  `json:"label"`
	Used      float64 `json:"used"`
	Limit     float64 `json:"limit"` // 0 with Unlimited
	Unlimited bool    `json:"unlimited"`
	Unit      string  `json:"unit"` // "devices", "gpus", "containers", "bytes", "cpus", "tasks"
	Text      string  `json:"text"` // "1 of 2", "3.2 GiB of 32 GiB"
}

// LimitsFile carries the text of a limits file.
type LimitsFile struct {
	Name string `json:"name"`
	YAML string `json:"yaml"`
}

// LimitChange is one value that differs for one user.
type LimitChange struct {
	User   string `json:"user"`
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// TryContainer is a request for a container that is only to be judged.
type TryContainer struct {
	Name string `json:"name"` // "": any
	Body string `json:"body"` // of Docker's POST /containers/create

	Build *TryBuild `json:"build,omitempty"` // a build instead
}

// TryBuild is a request for a build that is only to be judged.
type TryBuild struct {
	Builder    string `json:"builder"` // classic or buildkit
	Query      string `json:"query"`   // of Docker's POST /build by the classic builder
	Dockerfile string `json:"dockerfile"`
}

// Explanation is what would become of a request, and which rule set each field.
type Explanation struct {
	User     string   `json:"user"`
	Name     string   `json:"name"`
	Image    string   `json:"image"`
	Build    bool     `json:"build,omitempty"` // the image would be built, Name being its first
	Registry string   `json:"registry"`        // that the image's name speaks of; "" for a person's own
	Allowed  bool     `json:"allowed"`
	Fields   []Origin `json:"fields"`
	Slots    []string `json:"gpu_slots"` // that would be granted
	Warnings []string `json:"warnings"`

	Refusal *problem.Document `json:"refusal,omitempty"` // why not
}

// Origin is one field of a request as the engine would get it.
type Origin struct {
	Field string `json:"field"` // "HostConfig.Memory"
	Value any    `json:"value"`
	SetBy string `json:"set_by"` // "request", "ds01", "memory, groups.student, resource-limits.yaml:12", "site policy, teaching.rego:12"
}

// Dashboard is the host at a glance.
type Dashboard struct {
	Host       string       `json:"host"`
	At         time.Time    `json:"at"`
	Version    Version      `json:"version"`
	GPUs       []GPU        `json:"gpus"`
	Containers []Container  `json:"containers"` // the caller's; everybody's for admins
	Users      []UserLimits `json:"users"`      // the caller; for admins everybody who holds something
	Warnings   []string     `json:"warnings,omitempty"`
}

// Doctor check results.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// Doctor is what works and what is missing, for the caller.
type Doctor struct {
	Checks  []Check  `json:"checks"`
	Orphans []Orphan `json:"orphans"` // left over: the caller's own, or everybody's for administrators
}

// Orphan is something that was left over.
type Orphan struct {
	Kind   string `json:"kind"`   // "mount", "control group", …
	Object string `json:"object"` // by which it is found again
	UID    int    `json:"uid"`    // whose it was; -1: nobody knows
	Why    string `json:"why"`
	Fix    string `json:"fix,omitempty"`  // what "doctor --fix" does; "": nothing
	Next   string `json:"next,omitempty"` // what to do by hand then
}

// Fix asks for orphans to be taken away: their kinds and objects tell which.
type Fix struct {
	Orphans []Orphan `json:"orphans"`
}

// Fixed is what became of one of them.
type Fixed struct {
	Kind   string `json:"kind"`
	Object string `json:"object"`
	Error  string `json:"error,omitempty"` // why it is still there
}

// Check is one finding.
type Check struct {
	Name   string `json:"name"`           // "engine", "gpu group"
	Result string `json:"result"`         // ok, warn, fail
	Detail string `json:"detail"`         // one sentence
	Next   string `json:"next,omitempty"` // what to do, and whom to ask
}
