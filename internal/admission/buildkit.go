package admission

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// kitParameters returns the query parameters of a build by BuildKit that mean
// something there.
func kitParameters() []string {
	return []string{
		"version", "session", "remote", "buildid", "t", "dockerfile", "target", "buildargs", "labels", "cachefrom", "nocache", "pull", "rm", "forcerm", "q",
		"networkmode", "platform", "extrahosts", "outputs", "shmsize", "memory", "memswap", "cpushares", "cpuquota", "cpuperiod", "ulimits",
	}
}

// A KitRequest is what a client wants BuildKit to build, as far as it may.
type KitRequest struct {
	Session string
	Output  KitOutputs
	Targets []string // names of the image, as the person calls it
	KitOptions
}

// KitOutputs is what comes of a build, "" for nothing: the client only asks what
// there is.
type KitOutputs string

// Outputs of a build. Files are the client's to receive, in its own session.
const (
	KitImage KitOutputs = "image"
	KitFiles KitOutputs = "local" // one by one
	KitTar   KitOutputs = "tar"   // in one archive
)

// KitOptions are what a client says of how the Dockerfile is read.
type KitOptions struct {
	Attributes map[string]string // the options of the Dockerfile's reader
	Notes      []string          // what of the client's words has no effect, said in the progress
}

// What scripts and compose files carry along, and the engine doesn't get: it
// would take what an image says of other people's steps for true, for everybody.
const (
	noCacheIn  = "no cache is read from images or elsewhere (--cache-from): what you have built here is found again by itself"
	noCacheOut = "no cache is written into the image (BUILDKIT_INLINE_CACHE): steps are yours alone, and nobody else would find theirs in it"
)

// resolveMode is the option that says whether images are fetched anew.
const resolveMode = "image-resolve-mode"

// Pull reports whether shared images are fetched anew, though they are here.
func (r KitRequest) Pull() bool { return r.Attributes[resolveMode] == "pull" }

// ReadKitBuild reads the query of a build by BuildKit, as Docker's clients write
// it.
func ReadKitBuild(query url.Values) (KitRequest, error) {
	r := KitRequest{Session: query.Get("session"), Output: KitImage, Targets: query["t"]}
	var outputs []KitOutput
	err := readParameter(query, "outputs", &outputs)
	if len(outputs) > 0 && err == nil {
		err = r.output(outputs)
	}
	if err == nil {
		r.KitOptions, err = readKitBuild(query)
	}
	return r, err
}

// output reads what shall become of the result, one thing.
func (r *KitRequest) output(all []KitOutput) error {
	if len(all) != 1 {
		return NoKitOutput()
	}
	allowed := []string{"dest"} // where the client writes
	switch out := all[0]; out.Type {
	case "moby", "image":
		r.Output, allowed = KitImage, []string{"name", "load"} // compose has it loaded into the engine, where it is made
		if names := out.Attrs["name"]; names != "" {
			r.Targets = strings.Split(names, ",")
		}
	case "local":
		r.Output = KitFiles
	case "tar":
		r.Output = KitTar
	case "oci", "docker":
		return noStep("--output type="+out.Type+" is nothing that this engine's BuildKit writes", "Build with -t NAME, and docker save -o FILE NAME.")
	default:
		return noStep("--output type="+out.Type+" is not served", "Build the image, and docker push it; or --output DIR for the files.")
	}
	for _, key := range slices.Sorted(maps.Keys(all[0].Attrs)) {
		if value := all[0].Attrs[key]; value != "" && value != "false" && !slices.Contains(allowed, key) {
			return noStep("--output with "+key+" is not served", "Build the image, and docker push it.")
		}
	}
	return nil
}

func readKitBuild(query url.Values) (o KitOptions, err error) {
	for key, values := range query {
		if strings.Join(values, "") != "" && !slices.Contains(kitParameters(), key) {
			return o, noStep(key+" means nothing to BuildKit, or isn't yours to choose", "Leave the option away.")
		}
	}
	if query.Get("remote") != "client-session" {
		return o, noStep("only a folder of yours is built, which the client sends as it is asked", "Build a folder: docker build DIR. What is in an archive or a repository, unpack first.")
	}
	for _, key := range []string{"shmsize", "memory", "memswap", "cpushares", "cpuquota", "cpuperiod"} {
		if v := query.Get(key); v != "" && v != "0" {
			return o, noStep(key+" is nothing that BuildKit's steps have; your own limits hold over all of them", "Leave the option away.")
		}
	}
	if v := query.Get("ulimits"); v != "" && v != "null" && v != "[]" {
		return o, KitStep{Ulimits: true}.Check()
	}
	if asks(query.Get("cachefrom")) {
		o.Notes = append(o.Notes, noCacheIn)
	}
	return o, o.readQuery(query)
}

func (o *KitOptions) readQuery(query url.Values) error {
	all := map[string]string{}
	o.Attributes = all
	for parameter, option := range map[string]string{"target": "target", "dockerfile": "filename", "platform": "platform", "extrahosts": "add-hosts"} {
		if v := query.Get(parameter); v != "" {
			all[option] = v
		}
	}
	if v := query.Get("nocache"); v != "" && v != "0" {
		all["no-cache"] = ""
	}
	if asks(query.Get("pull")) {
		all[resolveMode] = "pull"
	}
	switch mode := query.Get("networkmode"); mode {
	case "", "default":
	case "none":
		all["force-network-mode"] = mode
	case "host":
		return KitStep{HostNetwork: true}.Check()
	default:
		return noStep("BuildKit knows no network "+mode+" for steps", "Leave --network away, or write --network=none.")
	}
	var args map[string]*string
	var labels map[string]string
	if err := readParameter(query, "buildargs", &args); err != nil {
		return err
	}
	if err := readParameter(query, "labels", &labels); err != nil {
		return err
	}
	for name, value := range args {
		if value == nil {
			continue // it isn't set where the client runs
		}
		if err := o.argument(name, *value); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all["label:"+name] = labels[name]
	}
	return nil
}

// argument takes a build argument; those by which clients steer BuildKit are
// refused.
func (o *KitOptions) argument(name, value string) error {
	switch {
	case name == "BUILDKIT_INLINE_CACHE":
		if asks(value) {
			o.Notes = append(o.Notes, noCacheOut)
		}
	case strings.HasPrefix(name, "BUILDKIT_"):
		return noStep("the argument "+name+" steers BuildKit itself", "Leave it away.")
	default:
		o.Attributes["build-arg:"+name] = value
	}
	return nil
}

func readParameter(query url.Values, key string, to any) error {
	if v := query.Get(key); v != "" {
		if err := json.Unmarshal([]byte(v), to); err != nil {
			return invalid("Image not built", key+" is no JSON: "+err.Error())
		}
	}
	return nil
}

// A KitSolve is what a client asks of BuildKit's control API.
type KitSolve struct {
	Session      string
	Frontend     string // "": the client says the rest on the bridge
	Attributes   map[string]string
	Outputs      []KitOutput
	Entitlements []string
	Written      bool     // it brings a build, or a part of one, that it has written itself
	CacheOut     []string // kinds of places that it wants the cache written to
}

// A KitOutput is one thing that is to become of the result.
type KitOutput struct {
	Type  string
	Attrs map[string]string
}

// ReadKitSolve reviews what a client asks of BuildKit's control API.
func ReadKitSolve(s KitSolve) (KitRequest, error) {
	r := KitRequest{Session: s.Session}
	switch {
	case len(s.Entitlements) > 0:
		return r, noStep("--allow "+s.Entitlements[0]+" reaches past what a build may", "Leave it away.")
	case slices.ContainsFunc(s.CacheOut, func(kind string) bool { return kind != "inline" }):
		return r, noStep("--cache-to "+strings.Join(s.CacheOut, ", ")+" has the engine write somewhere", "Leave it away: the engine keeps what you built.")
	case len(s.Outputs) == 0 && s.Frontend == "":
		return r, nil // it may only ask what there is
	}
	if err := CheckKitFrontend(s.Frontend, s.Written); s.Frontend != "" && err != nil {
		return r, err
	}
	if err := r.output(s.Outputs); err != nil {
		return r, err
	}
	var err error
	if s.Frontend != "" {
		r.KitOptions, err = ReadKitAttributes(s.Attributes)
	}
	if len(s.CacheOut) > 0 {
		r.Notes = append(r.Notes, noCacheOut)
	}
	return r, err
}

// CheckKitFrontend refuses any frontend but the Dockerfile's reader, and what a
// client has written itself.
func CheckKitFrontend(name string, written bool) error {
	if name != "dockerfile.v0" || written {
		return noStep("the client writes the build itself, or has another program write it", "Build from a Dockerfile.")
	}
	return nil
}

// ReadKitAttributes reviews the options of the Dockerfile's reader as buildx
// writes them.
func ReadKitAttributes(options map[string]string) (o KitOptions, err error) {
	o.Attributes = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		family, name, _ := strings.Cut(key, ":")
		switch {
		case key == "force-network-mode" && value == "host":
			return o, KitStep{HostNetwork: true}.Check()
		case key == "ulimit" && value != "":
			return o, KitStep{Ulimits: true}.Check()
		case key == "cgroup-parent" && value != "":
			return o, KitStep{Group: value}.Check()
		case key == resolveMode && value == "pull":
			o.Attributes[key] = value
		case family == "build-arg":
			if err := o.argument(name, value); err != nil {
				return o, err
			}
		case key == "cache-imports", key == "cache-from":
			if asks(value) {
				o.Notes = append(o.Notes, noCacheIn)
			}
		case family == "attest", family == "vcs", family == "local-sessionid", key == resolveMode, value != "" && clientSays()[key] == value:
			// what they say of the build isn't read
		case slices.Contains([]string{"filename", "target", "platform", "no-cache", "add-hosts", "force-network-mode"}, key),
			family == "label", family == "context" && name != "":
			o.Attributes[key] = value
		case value != "" && value != "false":
			return o, noStep("the option "+key+"="+value+" is not served", "Leave it away; docs/users/building.md says what builds.")
		}
	}
	return o, nil
}

// clientSays is what buildx says beside other options and is so in any case: that
// the Dockerfile's reader has to know --build-context, and what it calls the folder
// with a Dockerfile that isn't in the context.
func clientSays() map[string]string {
	return map[string]string{"frontend.caps": "moby.buildkit.frontend.contexts+forward", "dockerfilekey": "dockerfile"}
}

// NoKitOutput refuses a build of which nothing shall come, or more than one
// thing.
func NoKitOutput() error {
	return noStep("a build has one result: an image, or files for you", "Give --output once, or leave it away.")
}

// A KitBuild is what BuildKit is to build for a person, reviewed.
type KitBuild struct {
	UID       int
	Session   string // the client's, of the same person
	Group     string // path of the person's control group
	Mark      string // name that the engine gives the image, "" where none comes of it
	Output    KitOutputs
	NoNetwork string // why steps have no network, "" where they can have one
	KitOptions

	// Judge has the site's policy judge the build by all images that it builds
	// on or copies from, before any is fetched; nil where there is none. It is
	// asked again, with more of them, where one brings others.
	Judge func(ctx context.Context, bases []string) (KitSite, error)
	// Image returns the engine's name of an image that the person may use. Where
	// it must be fetched, login tells what the client is known by at a registry.
	Image func(ctx context.Context, reference string, login KitLogin) (string, error)
	// Room refuses to go on once the disk has too little room.
	Room func() error
	// Show puts the person's own names in the place of the engine's.
	Show func(text string) string
}

// A KitLogin returns the client's login at the registry on a host, the zero
// Credentials where it has none.
type KitLogin = func(ctx context.Context, host string) (Credentials, error)

// A KitSite is what a site's policy leaves to a build.
type KitSite struct {
	Group     string   // path of the control group of its steps
	NoNetwork string   // as that of KitBuild
	Told      []string // what it has taken, in sentences
}

// A KitStep is what one RUN asks for beyond its command.
type KitStep struct {
	HostNetwork bool
	Insecure    bool
	Devices     bool
	Ulimits     bool
	PartOfCache bool   // a cache mount with source=
	Group       string // control group
}

// Check refuses what reaches past the person's limits.
func (s KitStep) Check() error {
	switch {
	case s.HostNetwork:
		return noStep("RUN --network=host would reach what listens on the host alone", "Leave it away: steps have a network of their own, or none with --network=none.")
	case s.Insecure:
		return noStep("RUN --security=insecure would be root on the host", "Leave it away.")
	case s.Devices:
		return noStep("RUN --device gives a build a device, and nobody counts it", "Leave it away, and use the device in a container.")
	case s.Ulimits:
		return noStep("--ulimit in a build is not served", "Leave it away, or call ulimit in the step.")
	case s.PartOfCache:
		return noStep("source= in a cache mount lets two builds race into the host's files", "Mount the whole cache: --mount=type=cache,target=DIR.")
	case s.Group != "":
		return noStep("--cgroup-parent is ds01's to choose", "Leave it away.")
	}
	return nil
}

func noStep(why, next string) error { return denied("Image not built", why, next) }

// NoSource refuses a kind of source that the engine would fetch in its own name.
func NoSource(kind string) error {
	next := map[string]string{
		"http": "Fetch it in a step, as in RUN wget -O FILE URL, or put the file beside the Dockerfile.",
		"git":  "Clone it yourself and build in the folder, or clone it in a step.",
	}
	next["https"] = next["http"]
	return problemOf(kind, next[kind])
}

func problemOf(kind, next string) error {
	if next == "" {
		next = "Build of a folder, with images that are on this host."
	}
	return &problem.Error{
		What: "Image not built", Why: problem.Because(problem.ErrDenied, "the engine would fetch a source of kind "+kind+" itself, from the host's own network"), Next: next,
	}
}

// sign is the second argument of a step that ds01 asks for; the first is empty,
// which is no program anywhere.
const sign = "ds01-step"

// KitStepIn returns the arguments of a step that is to run in a control group,
// named by an absolute path, or in a slice. They differ between people, and so do the keys
// under which BuildKit keeps the results. Only what SplitKitStep has split runs.
func KitStepIn(group string, args []string) []string {
	return append([]string{"", sign, group}, args...)
}

// SplitKitStep returns what KitStepIn put together; ok is false for other
// arguments, which are returned as they are.
func SplitKitStep(args []string) (group string, rest []string, ok bool) {
	if len(args) < 4 || args[0] != "" || args[1] != sign {
		return "", args, false
	}
	return args[2], args[3:], true
}

// KitShown takes from a text, such as an error of BuildKit's, what KitStepIn
// adds.
func KitShown(text, group string) string { return strings.ReplaceAll(text, " "+sign+" "+group+" ", "") }

// KitNamesOwner reports whether a text of a client's could be taken for what
// KitStepIn adds.
func KitNamesOwner(text string) bool { return strings.Contains(text, sign) }

var kitGroup = regexp.MustCompile(`^(\S*?[/-]u([0-9]+)(?:[/-]narrow_\S*|\.slice)?) `)

// KitOwner returns of whose build a record of BuildKit's cache is, by its
// description, and that without what ds01 has put there. It is -1 where that
// doesn't say.
func KitOwner(description string) (uid int, shown string) {
	if before, after, found := strings.Cut(description, "local source for ds01-"); found && before == "" {
		number, name, _ := strings.Cut(after, "/")
		if uid, err := strconv.Atoi(number); err == nil {
			return uid, "local source for " + name
		}
	}
	before, after, found := strings.Cut(description, " from exec  "+sign+" ")
	if m := kitGroup.FindStringSubmatch(after); found && m != nil {
		if uid, err := strconv.Atoi(m[2]); err == nil {
			return uid, before + " from exec " + strings.TrimPrefix(after, m[0])
		}
	}
	return -1, description
}

// KitStepMissing reports whether an error of BuildKit's says that a step was
// started with arguments that nobody has split.
func KitStepMissing(text string) bool {
	return strings.Contains(text, `exec: "": executable file not found`)
}
