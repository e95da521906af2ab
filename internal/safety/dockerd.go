package safety

import (
	"fmt"
	"strings"

	"ds01.dev/ds01/internal/apitype"
)

// Engaged is how the engine is set up, as far as ds01 leans on it.
type Engaged struct {
	Bridge      bool     // it makes networks, and has a bridge of its own
	Apart       bool     // nobody on that bridge reaches anybody else there
	OnBridge    []string // containers that run on it, as the engine calls them
	LiveRestore bool     // containers run on while it restarts
}

// A Starter is what BuildKit in the engine starts the steps of builds by.
type Starter int

// What may stand as runc before the engine.
const (
	Stranger  Starter = iota // runc itself, or anything else
	ThisDs01                 // the program that asks
	OtherDs01                // one of another version, or a copy
)

// Dockerd is what the engine's process tells of itself.
type Dockerd struct {
	Runc       string // the first on its PATH, "" = there is none
	Starter    Starter
	NoFirewall bool // it makes no firewall rules

	CgroupNS     string // default-cgroupns-mode: "host", "private", "" = by its version of control groups
	ClearsBuilds *bool  // builder.gc.enabled; nil: it isn't said
	KeepsBuilds  string // builder.gc.defaultKeepStorage, "" = by itself
}

// judgeSteps says whether builds by BuildKit are held to people's limits. A step
// that isn't started by ds01 doesn't start at all, so that nothing is open.
func judgeSteps(f Facts) (apitype.Check, bool) {
	const name = "steps of builds"
	const meanwhile = "; until then: DOCKER_BUILDKIT=0. docs/admins/builds.md has the whole."
	switch {
	case f.Engaged == nil:
		return apitype.Check{}, false
	case f.Dockerd == nil:
		return warn(name, "dockerd isn't found behind the engine's socket, so it isn't known whether ds01 starts the steps of builds by BuildKit. Where it doesn't, they fail.",
			"Run ds01 on the engine's host, and see that /usr/lib/ds01/steps is first on the engine's PATH (docs/admins/builds.md)."), true
	}
	const folder = "Put /usr/lib/ds01/steps first on the engine's PATH (/usr/share/doc/ds01/docker.service.d) and restart the engine" + meanwhile
	switch d := f.Dockerd; {
	case d.Runc == "":
		return fail(name, "The engine has no runc on its PATH: no container and no step of a build starts.", "Install runc. "+folder), true
	case d.Starter == ThisDs01:
		return ok(name, fmt.Sprintf("ds01 starts them, as %s, and holds each to its owner's limits.", d.Runc)), true
	case d.Starter == OtherDs01:
		return warn(name, fmt.Sprintf("%s starts them, which is another ds01 than the daemon that runs: they may not understand each other.", d.Runc),
			"Where ds01 was upgraded, systemctl restart ds01; else let /usr/lib/ds01/steps/runc lead to /usr/bin/ds01."), true
	default:
		return warn(name, fmt.Sprintf("%s starts them, and isn't ds01: builds by BuildKit fail at their first RUN.", d.Runc), folder), true
	}
}

// judgeBridge says whether the engine's own bridge keeps apart what is on it.
// Beside steps of builds, ds01 puts nothing there.
func judgeBridge(f Facts) (apitype.Check, bool) {
	const name = "engine's bridge"
	if f.Engaged == nil {
		return apitype.Check{}, false
	}
	there := "No container is on it."
	if n := len(f.Engaged.OnBridge); n > 0 {
		there = fmt.Sprintf("On it, past ds01: %s.", strings.Join(f.Engaged.OnBridge, ", "))
	}
	switch {
	case !f.Engaged.Bridge:
		return ok(name, `The engine makes no networks ("bridge": "none"): containers and builds have none, and no port is published.`), true
	case f.Engaged.Apart:
		return ok(name, "Nobody reaches anybody on the engine's own bridge. "+there), true
	}
	return warn(name, "Whoever is on the engine's own bridge reaches everybody else there, so steps of builds by BuildKit get no network. "+there,
		`Set "icc": false in /etc/docker/daemon.json and restart the engine. Containers that were made past ds01 make again through it: their owner's network is theirs alone.`), true
}

func judgeFirewall(f Facts) (apitype.Check, bool) {
	const name = "firewall"
	if f.Dockerd == nil || f.Engaged == nil || !f.Engaged.Bridge {
		return apitype.Check{}, false
	}
	if f.Dockerd.NoFirewall {
		return fail(name, "The engine makes no firewall rules: people's networks reach one another.",
			`Take "iptables": false out of /etc/docker/daemon.json, or --iptables=false out of its unit, and restart the engine.`), true
	}
	return ok(name, "The engine keeps networks apart by firewall rules."), true
}

func judgeRestarts(f Facts) (apitype.Check, bool) {
	const name = "live restore"
	if f.Engaged == nil {
		return apitype.Check{}, false
	}
	if f.Engaged.LiveRestore {
		return ok(name, "Containers run on while the engine restarts."), true
	}
	return warn(name, "When the engine restarts, everybody's containers end.", `Set "live-restore": true in /etc/docker/daemon.json, then: systemctl reload docker.`), true
}

// clearsByItself is from when on the engine clears what builds leave unless it is
// told not to: 20.10 doesn't, this one's source does.
func clearsByItself() Version { return Version{Major: 28, Minor: 5, Patch: 2} }

// judgeBuildCache says whether what builds leave behind is cleared: BuildKit keeps
// what each step has made, for everybody and beside every limit.
func judgeBuildCache(f Facts) (apitype.Check, bool) {
	const name = "build cache"
	if f.Dockerd == nil || f.Engaged == nil {
		return apitype.Check{}, false
	}
	version, _ := ParseVersion(f.Engine)
	clears, why := !version.Less(clearsByItself()), "isn't told to clear what builds leave, which older ones don't do by themselves"
	if told := f.Dockerd.ClearsBuilds; told != nil {
		clears, why = *told, "is told not to clear what builds leave"
	}
	if !clears {
		return warn(name, "The engine "+why+": its disk fills up.",
			`Add "builder": {"gc": {"enabled": true, "defaultKeepStorage": "50GB"}} to /etc/docker/daemon.json and restart the engine; until then: docker builder prune.`), true
	}
	keeps := "as much of it as it thinks fit (builder.gc.defaultKeepStorage)"
	if f.Dockerd.KeepsBuilds != "" {
		keeps = f.Dockerd.KeepsBuilds + " of it"
	}
	return ok(name, "The engine clears what builds leave, and keeps "+keeps+"."), true
}

// judgeGroupNames says whether steps of classic builds see the names of the host's
// control groups. For each container ds01 itself tells the engine.
func judgeGroupNames(f Facts) (apitype.Check, bool) {
	const name = "group names"
	if f.Dockerd == nil || f.Engaged == nil || f.CgroupVersion == 0 {
		return apitype.Check{}, false
	}
	if told := f.Dockerd.CgroupNS; told == "host" || told == "" && f.CgroupVersion == 1 {
		return warn(name, "Steps of classic builds see the names of the host's control groups, with other people's uids in them.",
			`Add "default-cgroupns-mode": "private" to /etc/docker/daemon.json and restart the engine.`), true
	}
	return ok(name, "Containers and steps of builds see no names of the host's control groups."), true
}
