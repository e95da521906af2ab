package admission

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// A BuildParameter is one parameter of the classic build, and what becomes of
// it.
type BuildParameter struct {
	Name string
	What string // what becomes of it, "" where it is refused
	Why  string // why it is refused as soon as it asks for something
}

// BuildParameters returns every parameter of the classic build up to API 1.56.
func BuildParameters() []BuildParameter {
	const host = "it is set by your limits"
	return []BuildParameter{
		{Name: "buildargs", What: "passed, encoded anew"},
		{Name: "cachefrom", What: "not sent, and said: the cache of one's own builds is used, and an image of somebody's choice is none"},
		{Name: "cpuperiod", What: "with `cpuquota` kept within `max_cpus`"},
		{Name: "cpuquota", What: "kept within `max_cpus`; nothing and -1 are the limit"},
		{Name: "cpusetcpus", What: "passed"},
		{Name: "cpushares", What: "passed up to 1024"},
		{Name: "dockerfile", What: "the file in the context that is read; the engine gets one of ds01's making"},
		{Name: "forcerm", What: "always set: nothing stays behind"},
		{Name: "labels", What: "passed, encoded anew; those that only ds01 writes are refused"},
		{Name: "memory", What: "kept within `memory`; nothing and -1 are the limit"},
		{Name: "memswap", What: "kept within `memory_swap`; nothing and -1 are the limit"},
		{Name: "networkmode", What: "one's own network, `none`, or nothing: one's own default network; `host` and `container:` are refused"},
		{Name: "nocache", What: "passed"},
		{Name: "platform", What: "passed, and images are pulled for it"},
		{Name: "pull", What: "ds01 pulls shared images itself, before the build; not sent"},
		{Name: "q", What: "passed"},
		{Name: "rm", What: "always set"},
		{Name: "shmsize", What: "kept within `shm_size`; nothing is the limit"},
		{Name: "t", What: "names in one's own repository, several"},
		{Name: "target", What: "stages after it are left out; not sent"},
		{Name: "ulimits", What: "as at create"},
		{Name: "version", What: "nothing or 1; 2 is BuildKit"},

		{Name: "buildid", Why: "it belongs to BuildKit"},
		{Name: "cgroupparent", Why: "it carries your limits"},
		{Name: "cpusetmems", Why: "memory nodes are the host's to choose"},
		{Name: "extrahosts", Why: "name resolution is the host's"},
		{Name: "isolation", Why: "it is for Windows"},
		{Name: "kernelmemory", Why: host},
		{Name: "outputs", Why: "it belongs to BuildKit"},
		{Name: "remote", Why: "the engine would fetch it from the host's own network: clone or download it yourself, and build the folder"},
		{Name: "securityopt", Why: "it loosens what keeps containers apart"},
		{Name: "session", Why: "it belongs to BuildKit"},
		{Name: "squash", Why: "it is an experiment of old engines"},
	}
}

// buildKeys returns the names of the parameters of both kinds of builds.
func buildKeys() (names []string) {
	for _, p := range BuildParameters() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// A Build is what a classic build asks for.
type Build struct {
	Dockerfile string   // clean path in the context; "" for the usual one
	Names      []string // as the person writes them
	Args       map[string]*string
	Target     string
	Platform   string
	Pull       bool
	NoCache    bool
	Quiet      bool
	CacheFrom  bool // it named images for a cache
	Network    NetworkAsk

	labels map[string]string
	query  url.Values
	limits Create // what the limits are reviewed in
}

// ReadBuild reads the query of a classic build. Errors are of kind
// problem.ErrDenied or problem.ErrInvalid.
func ReadBuild(query url.Values) (Build, error) {
	for _, p := range BuildParameters() {
		value := query.Get(p.Name)
		if p.Why != "" && asks(value) && (p.Name != "isolation" || value != "default") {
			return Build{}, denied(notBuilt, p.Name+" can't be set: "+p.Why, "Leave the option away.")
		}
	}
	b := Build{
		Target: query.Get("target"), Platform: query.Get("platform"), Pull: asks(query.Get("pull")), NoCache: asks(query.Get("nocache")), Quiet: asks(query.Get("q")),
		CacheFrom: asks(query.Get("cachefrom")), query: query,
	}
	if name := query.Get("dockerfile"); name != "" {
		b.Dockerfile = strings.TrimPrefix(path.Clean("/"+name), "/")
	}
	for _, name := range query["t"] {
		if name != "" {
			b.Names = append(b.Names, name)
		}
	}
	if b.Platform != "" && !platformName.MatchString(b.Platform) {
		return b, refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q is no platform", b.Platform), "Write OS/ARCH.")
	}
	for _, step := range []func(url.Values) error{b.readLists, b.readResources, b.readNetwork} {
		if err := step(query); err != nil {
			return b, retitle(err)
		}
	}
	return b, nil
}

// asks reports whether a value asks for something: clients send empty lists.
func asks(value string) bool {
	return !slices.Contains([]string{"", "0", "false", "False", "null", "[]", "{}", "no", "none"}, value)
}

// BrokenBuild is the error of a build on which ds01 itself broke.
func BrokenBuild() error {
	return refuse(problem.ErrUnavailable, notBuilt, "it broke something in ds01, which goes on for everybody else",
		"Give the Dockerfile, and how you built it, to your administrators: the daemon's log says where it broke.")
}

// retitle says of an error that it is about a build.
func retitle(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return err
	}
	about := *p
	about.What = notBuilt
	return &about
}

// readLists reads the parameters that are JSON.
func (b *Build) readLists(query url.Values) error {
	for key, into := range map[string]any{"buildargs": &b.Args, "labels": &b.labels, "ulimits": &b.limits.HostConfig.Ulimits} {
		if value := query.Get(key); asks(value) {
			if err := decode(notBuilt, []byte(value), into); err != nil {
				return err
			}
		}
	}
	for key := range b.labels {
		if label.Reserved(key) {
			return denied(notBuilt, fmt.Sprintf("label %q is written by ds01 only", key), "Use another label key.")
		}
	}
	return nil
}

// readResources reads the numbers.
func (b *Build) readResources(query url.Values) error {
	number := func(key string) (n int64, err error) {
		if value := query.Get(key); value != "" {
			if n, err = strconv.ParseInt(value, 10, 64); err != nil {
				err = refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%s: %q is no number", key, value), "Write bytes, or leave it away.")
			}
		}
		return n, err
	}
	h := &b.limits.HostConfig
	h.CpusetCpus = query.Get("cpusetcpus")
	var quota, period int64
	for key, into := range map[string]*int64{
		"memory": &h.Memory, "memswap": &h.MemorySwap, "shmsize": &h.ShmSize, "cpushares": &h.CPUShares, "cpuquota": &quota, "cpuperiod": &period,
	} {
		var err error
		if *into, err = number(key); err != nil {
			return err
		}
	}
	if period <= 0 {
		period = buildPeriod
	}
	if quota > 1<<40 || period > 1e6 {
		return refuse(problem.ErrInvalid, notBuilt, "cpuquota or cpuperiod is out of range", "They are microseconds; leave them away.")
	}
	if quota > 0 {
		h.NanoCPUs = max(1, int64(float64(quota)/float64(period)*1e9))
	}
	return nil
}

// buildPeriod is the length over which processor time is counted, in
// microseconds, and leastBuildQuota the least of it that the kernel takes.
const (
	buildPeriod     = 100_000
	leastBuildQuota = 1000
)

func (b *Build) readNetwork(query url.Values) error {
	c := Create{HostConfig: HostConfig{NetworkMode: query.Get("networkmode")}}
	if strings.HasPrefix(c.HostConfig.NetworkMode, containerMode) {
		return denied(notBuilt, "a build has no other container's network", "Leave --network away, or name a network of yours.")
	}
	var err error
	b.Network, err = c.networkAsk()
	return err
}

// Query returns the query that the engine gets, without names and Dockerfile:
// what the subject left open is set to their limits. parent is their control
// group, networkMode the engine's name of a network. Errors are of kind
// problem.ErrLimit, problem.ErrDenied or problem.ErrInvalid.
func (b Build) Query(s Subject, parent, networkMode string) (url.Values, error) {
	c, err := b.Step(s)
	if err != nil {
		return nil, err
	}
	q := url.Values{"rm": {"1"}, "forcerm": {"1"}, "cgroupparent": {parent}, "networkmode": {networkMode}, "version": {"1"}}
	for _, key := range []string{"q", "nocache"} {
		if asks(b.query.Get(key)) {
			q.Set(key, "1")
		}
	}
	if b.Platform != "" {
		q.Set("platform", b.Platform)
	}
	h := c.HostConfig
	for key, n := range map[string]int64{"memory": h.Memory, "memswap": h.MemorySwap, "shmsize": h.ShmSize, "cpushares": h.CPUShares} {
		if n > 0 {
			q.Set(key, strconv.FormatInt(n, 10))
		}
	}
	if h.NanoCPUs > 0 {
		q.Set("cpuperiod", strconv.Itoa(buildPeriod))
		q.Set("cpuquota", strconv.FormatInt(max(h.NanoCPUs*(buildPeriod/1000)/1e6, leastBuildQuota), 10))
	}
	if h.CpusetCpus != "" {
		q.Set("cpusetcpus", h.CpusetCpus)
	}
	return q, b.encode(q, h.Ulimits)
}

func (b Build) encode(q url.Values, ulimits []Ulimit) error {
	for key, list := range map[string]any{"ulimits": ulimits, "buildargs": b.Args, "labels": b.labels} {
		data, err := Encode(list)
		if err != nil {
			return err
		}
		if asks(string(data)) {
			q.Set(key, string(data))
		}
	}
	return nil
}

// NetworkMode returns the mode for a build that was granted these networks.
func (b Build) NetworkMode(granted Networks) string {
	if b.Network.None {
		return network.None
	}
	return granted.Mode
}

// ReadLogins reads the logins that a client sends for a build, by registry.
// Errors are of kind problem.ErrInvalid.
func ReadLogins(header string) (map[string]Credentials, error) {
	if header == "" {
		return nil, nil
	}
	data, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		data, err = base64.StdEncoding.DecodeString(header)
	}
	if err != nil {
		return nil, invalid(notBuilt, "X-Registry-Config isn't base64")
	}
	var logins map[string]Credentials
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	return logins, decode(notBuilt, data, &logins)
}

// EncodeLogin returns a login as the header for one registry holds it.
func EncodeLogin(c Credentials) (string, error) {
	data, err := Encode(c)
	return base64.URLEncoding.EncodeToString(data), err
}
