package admission

// An Op names what a route does, for whoever serves it.
type Op string

// Operations of the Docker API that are served.
const (
	Ping              Op = "ping"
	Version           Op = "version"
	Info              Op = "info"
	ImageCreate       Op = "image create"
	ImageList         Op = "image list"
	ImageInspect      Op = "image inspect"
	ImageHistory      Op = "image history"
	ImageTag          Op = "image tag"
	ImageRemove       Op = "image remove"
	ImagePrune        Op = "image prune"
	ImagePush         Op = "image push"
	ImageLoad         Op = "image load"
	ImageSave         Op = "images save"
	ImageSaveOne      Op = "image save"
	ImageSearch       Op = "image search"
	ImageCommit       Op = "image commit"
	Distribution      Op = "distribution"
	Auth              Op = "auth"
	ContainerList     Op = "container list"
	ContainerCreate   Op = "container create"
	ContainerInspect  Op = "container inspect"
	ContainerTop      Op = "container top"
	ContainerLogs     Op = "container logs"
	ContainerStats    Op = "container stats"
	ContainerStart    Op = "container start"
	ContainerStop     Op = "container stop"
	ContainerRestart  Op = "container restart"
	ContainerUpdate   Op = "container update"
	ContainerKill     Op = "container kill"
	ContainerWait     Op = "container wait"
	ContainerResize   Op = "container resize"
	ContainerAttach   Op = "container attach"
	ContainerRemove   Op = "container remove"
	ArchiveStat       Op = "archive stat"
	ArchiveGet        Op = "archive get"
	ArchivePut        Op = "archive put"
	ContainerExport   Op = "container export"
	ContainerChanges  Op = "container changes"
	ContainerRename   Op = "container rename"
	ContainerPause    Op = "container pause"
	ContainerUnpause  Op = "container unpause"
	ContainerPrune    Op = "container prune"
	ExecCreate        Op = "exec create"
	ExecStart         Op = "exec start"
	ExecResize        Op = "exec resize"
	ExecInspect       Op = "exec inspect"
	Events            Op = "events"
	NetworkList       Op = "network list"
	NetworkInspect    Op = "network inspect"
	NetworkCreate     Op = "network create"
	NetworkConnect    Op = "network connect"
	NetworkDisconnect Op = "network disconnect"
	NetworkPrune      Op = "network prune"
	NetworkRemove     Op = "network remove"
	VolumeList        Op = "volume list"
	VolumeInspect     Op = "volume inspect"
	VolumeCreate      Op = "volume create"
	VolumePrune       Op = "volume prune"
	VolumeRemove      Op = "volume remove"
	DiskUsage         Op = "disk usage"
	BuildPrune        Op = "build prune"
	ImageBuild        Op = "image build"
	BuildCancel       Op = "build cancel"
	BuildSession      Op = "build session"
	BuildControl      Op = "build control"
)

// How says how an answer comes about.
type How string

// The ways to an answer.
const (
	Passes      How = "passes"      // asked of the engine by its full ids, answered in its words
	Rewritten   How = "rewritten"   // the engine's answer, less what isn't the caller's, in their names
	Synthesised How = "synthesised" // ds01's own answer
	Decided     How = "decided"     // read, reviewed, and asked of the engine in ds01's words
	Refused     How = "refused"
	Absent      How = "absent" // a look-up of what nobody has: 404, so that "docker inspect" goes on to the next kind
)

// Who says whose the objects of a route are.
type Who string

// Who may take a route: everybody who may use containers, or only the owner
// of what it speaks of. Administrators may do both.
const (
	Nobody    Who = "nobody"
	Everybody Who = "everybody"
	Owner     Who = "the owner"
)

// A Route is one row of the Docker API: what isn't a row is refused.
type Route struct {
	Method  string
	Pattern string // {id} is a name or id, {image} a reference with slashes
	Op      Op     // what serves it, "" where nothing does
	How     How
	Who     Who
	Query   []string // query keys that go on; another key is refused
	Body    bool     // the request has a JSON body
	Why     string   // why it is refused, or what there is none of
}

// Routes returns the table: every route of the Docker API up to 1.56, and
// some that only old engines have.
func Routes() []Route {
	served := []Route{
		{"GET", "/_ping", Ping, Synthesised, Everybody, nil, false, ""},
		{"HEAD", "/_ping", Ping, Synthesised, Everybody, nil, false, ""},
		{"GET", "/version", Version, Passes, Everybody, nil, false, ""},
		{"GET", "/info", Info, Rewritten, Everybody, nil, false, ""},
		{"GET", "/events", Events, Rewritten, Owner, []string{"since", "until", "filters"}, false, ""},
		{"POST", "/images/create", ImageCreate, Decided, Everybody, []string{"fromImage", "tag", "platform", "fromSrc", "repo", "message", "changes"}, false, ""},
		{"GET", "/images/json", ImageList, Rewritten, Everybody, []string{"all", "filters", "digests", "shared-size", "manifests", "only_ids"}, false, ""},
		{"GET", "/images/{image}/json", ImageInspect, Rewritten, Everybody, []string{"manifests", "platform"}, false, ""},
		{"GET", "/images/{image}/history", ImageHistory, Rewritten, Everybody, []string{"platform"}, false, ""},
		{"POST", "/images/{image}/tag", ImageTag, Decided, Everybody, []string{"repo", "tag", "force"}, false, ""},
		{"DELETE", "/images/{image}", ImageRemove, Decided, Owner, []string{"force", "noprune"}, false, ""},
		{"POST", "/images/prune", ImagePrune, Synthesised, Owner, []string{"filters"}, false, ""},
		{"POST", "/images/{image}/push", ImagePush, Decided, Everybody, []string{"tag", "platform"}, false, ""},
		{"POST", "/images/load", ImageLoad, Decided, Everybody, []string{"quiet", "platform"}, false, ""},
		{"GET", "/images/get", ImageSave, Rewritten, Everybody, []string{"names", "platform"}, false, ""},
		{"GET", "/images/{image}/get", ImageSaveOne, Rewritten, Everybody, []string{"platform"}, false, ""},
		{"GET", "/images/search", ImageSearch, Passes, Everybody, []string{"term", "limit", "filters"}, false, ""},
		{"GET", "/distribution/{image}/json", Distribution, Passes, Everybody, nil, false, ""},
		{"POST", "/auth", Auth, Decided, Everybody, nil, true, ""},
		{"POST", "/commit", ImageCommit, Decided, Owner, []string{"container", "repo", "tag", "comment", "author", "pause", "changes"}, true, ""},
		{"GET", "/containers/json", ContainerList, Rewritten, Owner, []string{"all", "limit", "size", "filters", "trunc_cmd"}, false, ""},
		{"POST", "/containers/create", ContainerCreate, Decided, Everybody, []string{"name", "platform"}, true, ""},
		{"GET", "/containers/{id}/json", ContainerInspect, Rewritten, Owner, []string{"size"}, false, ""},
		{"GET", "/containers/{id}/top", ContainerTop, Passes, Owner, []string{"ps_args"}, false, ""},
		{"GET", "/containers/{id}/logs", ContainerLogs, Passes, Owner, []string{"follow", "stdout", "stderr", "since", "until", "timestamps", "tail", "details"}, false, ""},
		{"GET", "/containers/{id}/stats", ContainerStats, Rewritten, Owner, []string{"stream", "one-shot"}, false, ""},
		{"POST", "/containers/{id}/start", ContainerStart, Decided, Owner, []string{"detachKeys"}, false, ""},
		{"POST", "/containers/{id}/stop", ContainerStop, Decided, Owner, []string{"t", "signal"}, false, ""},
		{"POST", "/containers/{id}/restart", ContainerRestart, Decided, Owner, []string{"t", "signal"}, false, ""},
		{"POST", "/containers/{id}/update", ContainerUpdate, Decided, Owner, nil, true, ""},
		{"POST", "/containers/{id}/kill", ContainerKill, Passes, Owner, []string{"signal"}, false, ""},
		{"POST", "/containers/{id}/wait", ContainerWait, Passes, Owner, []string{"condition"}, false, ""},
		{"POST", "/containers/{id}/resize", ContainerResize, Passes, Owner, []string{"h", "w"}, false, ""},
		{"POST", "/containers/{id}/attach", ContainerAttach, Passes, Owner, []string{"detachKeys", "logs", "stream", "stdin", "stdout", "stderr"}, false, ""},
		{"DELETE", "/containers/{id}", ContainerRemove, Passes, Owner, []string{"v", "force", "link"}, false, ""},
		{"HEAD", "/containers/{id}/archive", ArchiveStat, Decided, Owner, []string{"path"}, false, ""},
		{"GET", "/containers/{id}/archive", ArchiveGet, Decided, Owner, []string{"path"}, false, ""},
		{"PUT", "/containers/{id}/archive", ArchivePut, Decided, Owner, []string{"path", "noOverwriteDirNonDir", "copyUIDGID"}, false, ""},
		{"GET", "/containers/{id}/export", ContainerExport, Passes, Owner, nil, false, ""},
		{"GET", "/containers/{id}/changes", ContainerChanges, Passes, Owner, nil, false, ""},
		{"POST", "/containers/{id}/rename", ContainerRename, Decided, Owner, []string{"name"}, false, ""},
		{"POST", "/containers/{id}/pause", ContainerPause, Decided, Owner, nil, false, ""},
		{"POST", "/containers/{id}/unpause", ContainerUnpause, Decided, Owner, nil, false, ""},
		{"POST", "/containers/prune", ContainerPrune, Synthesised, Owner, []string{"filters"}, false, ""},
		{"POST", "/containers/{id}/exec", ExecCreate, Decided, Owner, nil, true, ""},
		{"POST", "/exec/{id}/start", ExecStart, Decided, Owner, nil, true, ""},
		{"POST", "/exec/{id}/resize", ExecResize, Passes, Owner, []string{"h", "w"}, false, ""},
		{"GET", "/exec/{id}/json", ExecInspect, Passes, Owner, nil, false, ""},
		{"GET", "/networks", NetworkList, Rewritten, Owner, []string{"filters"}, false, ""},
		{"GET", "/networks/{id}", NetworkInspect, Rewritten, Owner, []string{"verbose", "scope"}, false, ""},
		{"POST", "/networks/create", NetworkCreate, Decided, Everybody, nil, true, ""},
		{"POST", "/networks/{id}/connect", NetworkConnect, Decided, Owner, nil, true, ""},
		{"POST", "/networks/{id}/disconnect", NetworkDisconnect, Decided, Owner, nil, true, ""},
		{"POST", "/networks/prune", NetworkPrune, Synthesised, Owner, []string{"filters"}, false, ""},
		{"DELETE", "/networks/{id}", NetworkRemove, Passes, Owner, []string{"force"}, false, ""},
		{"GET", "/volumes", VolumeList, Rewritten, Owner, []string{"filters"}, false, ""},
		{"GET", "/volumes/{id}", VolumeInspect, Rewritten, Owner, nil, false, ""},
		{"POST", "/volumes/create", VolumeCreate, Decided, Everybody, nil, true, ""},
		{"POST", "/volumes/prune", VolumePrune, Synthesised, Owner, []string{"filters"}, false, ""},
		{"DELETE", "/volumes/{id}", VolumeRemove, Passes, Owner, []string{"force"}, false, ""},
		{"GET", "/system/df", DiskUsage, Synthesised, Owner, []string{"type", "verbose"}, false, ""},
		{"POST", "/build", ImageBuild, Decided, Everybody, buildKeys(), false, ""},
		{"POST", "/build/cancel", BuildCancel, Synthesised, Owner, []string{"id"}, false, ""},
		{"POST", "/session", BuildSession, Synthesised, Owner, nil, false, ""},
		{"POST", "/grpc", BuildControl, Decided, Everybody, nil, false, ""},
		{"POST", "/build/prune", BuildPrune, Synthesised, Everybody, []string{
			"all", "filters", "keep-storage", "reserved-space", "max-used-space", "min-free-space",
		}, false, ""},
	}
	return append(append(served, refused()...), absent()...)
}

func refused() []Route {
	const (
		unserved = "it isn't served yet"
		swarm    = "ds01 runs no swarm: one engine serves one host"
		cluster  = "secrets and configs belong to swarm"
		plugin   = "plugins run on the host as root"
		innards  = "it shows the engine's own memory"
		frozen   = "checkpoints write and read host folders as root"
	)
	var rows []Route
	for _, r := range []struct{ method, pattern, why string }{
		{"GET", "/containers/{id}/attach/ws", "attach over HTTP is served, and no client needs a websocket"},
		{"POST", "/containers/{id}/copy", "it is gone from the API: clients use archive"},
		{"GET", "/containers/{id}/checkpoints", frozen},
		{"POST", "/containers/{id}/checkpoints", frozen},
		{"DELETE", "/containers/{id}/checkpoints/{id}", frozen},
		{"GET", "/images/{image}/attestations", unserved},
		{"PUT", "/volumes/{id}", "only cluster volumes are updated, and there are none"},
		{"GET", "/plugins", plugin},
		{"GET", "/plugins/privileges", plugin},
		{"DELETE", "/plugins/{id}", plugin},
		{"POST", "/plugins/pull", plugin},
		{"POST", "/plugins/create", plugin},
		{"POST", "/plugins/{id}/enable", plugin},
		{"POST", "/plugins/{id}/disable", plugin},
		{"POST", "/plugins/{id}/push", plugin},
		{"POST", "/plugins/{id}/upgrade", plugin},
		{"POST", "/plugins/{id}/set", plugin},
		{"GET", "/swarm", swarm},
		{"POST", "/swarm/init", swarm},
		{"POST", "/swarm/join", swarm},
		{"POST", "/swarm/leave", swarm},
		{"POST", "/swarm/update", swarm},
		{"POST", "/swarm/unlock", swarm},
		{"GET", "/swarm/unlockkey", swarm},
		{"GET", "/services", swarm},
		{"POST", "/services/create", swarm},
		{"POST", "/services/{id}/update", swarm},
		{"DELETE", "/services/{id}", swarm},
		{"GET", "/services/{id}/logs", swarm},
		{"GET", "/nodes", swarm},
		{"DELETE", "/nodes/{id}", swarm},
		{"POST", "/nodes/{id}/update", swarm},
		{"GET", "/tasks", swarm},
		{"GET", "/tasks/{id}/logs", swarm},
		{"GET", "/secrets", cluster},
		{"POST", "/secrets/create", cluster},
		{"POST", "/secrets/{id}/update", cluster},
		{"DELETE", "/secrets/{id}", cluster},
		{"GET", "/configs", cluster},
		{"POST", "/configs/create", cluster},
		{"POST", "/configs/{id}/update", cluster},
		{"DELETE", "/configs/{id}", cluster},
		{"GET", "/debug/vars", innards},
		{"GET", "/debug/pprof", innards},
		{"GET", "/debug/pprof/{id}", innards},
		{"GET", "/debug/pprof/cmdline", innards},
		{"GET", "/debug/pprof/profile", innards},
		{"GET", "/debug/pprof/symbol", innards},
		{"GET", "/debug/pprof/trace", innards},
	} {
		rows = append(rows, Route{Method: r.method, Pattern: r.pattern, How: Refused, Who: Nobody, Why: r.why})
	}
	return rows
}

func absent() []Route {
	var rows []Route
	for _, r := range []struct{ pattern, kind string }{
		{"/services/{id}", "services"},
		{"/tasks/{id}", "tasks"},
		{"/nodes/{id}", "nodes"},
		{"/plugins/{id}/json", "plugins"},
		{"/secrets/{id}", "secrets"},
		{"/configs/{id}", "configs"},
	} {
		rows = append(rows, Route{Method: "GET", Pattern: r.pattern, How: Absent, Who: Everybody, Why: "there are no " + r.kind + " here"})
	}
	return rows
}
