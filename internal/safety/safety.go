// Package safety judges a host by facts about it: whether its programs are
// new enough, whether a way leads past ds01 to the engine, whether its
// settings carry what ds01 promises. It gathers none of them.
package safety

import (
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/apitype"
)

// Facts are what is known of a host. A text that is empty is not known, and
// not judged.
type Facts struct {
	Engine         string   // version
	Runc           string   // version, as the engine names it
	RuncFixes      []string // "CVE-…" that the distribution's changelog of runc names
	Toolkit        string   // version of NVIDIA's container toolkit
	BuildKit       string   // version of a buildkitd beside the engine
	DefaultRuntime string
	Remapped       bool     // the engine remaps user namespaces
	MaxKeys        int      // kernel.keys.maxkeys, 0: not known
	Sockets        []Socket // of engines, that somebody but root can open
	DockerGroup    []string // members of the group docker
	Gateway        string   // where ds01's gateway listens, "" = not asked
	Engaged        *Engaged // nil: the engine hasn't told
	Dockerd        *Dockerd // nil: its process isn't found
	CgroupVersion  int      // of the host's control groups, 0: not known
}

// A Socket leads to an engine past ds01.
type Socket struct {
	Where  string // a path, or tcp://127.0.0.1:2375
	Speaks string // "Docker", "containerd", …
	OpenTo string // "everybody", "the group docker (alice)", "you"
}

// Judge returns one check for each fact that is known, in a fixed order.
func Judge(f Facts) []apitype.Check {
	var checks []apitype.Check
	for _, one := range []func(Facts) (apitype.Check, bool){
		judgeEngine, judgeRunc, judgeToolkit, judgeBuildKit, judgeRuntime, judgeRemapping, judgeKeys, judgeGroup, judgeGateway,
		judgeSteps, judgeBridge, judgeFirewall, judgeRestarts, judgeBuildCache, judgeGroupNames,
	} {
		if check, known := one(f); known {
			checks = append(checks, check)
		}
	}
	return append(checks, JudgeSockets(f.Sockets)...)
}

func ok(name, detail string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckOK, Detail: detail}
}

func warn(name, detail, next string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckWarn, Detail: detail, Next: next}
}

func fail(name, detail, next string) apitype.Check {
	return apitype.Check{Name: name, Result: apitype.CheckFail, Detail: detail, Next: next}
}

func judgeRuntime(f Facts) (apitype.Check, bool) {
	const name = "default runtime"
	if f.DefaultRuntime == "" || f.DefaultRuntime == "runc" {
		return ok(name, "Containers are run by runc unless ds01 says otherwise."), f.DefaultRuntime != ""
	}
	return fail(name, fmt.Sprintf("The engine's default runtime is %s: an image's own variables can choose GPUs there, past every claim.", f.DefaultRuntime),
		`Take "default-runtime" out of /etc/docker/daemon.json and restart the engine; ds01 hands GPUs out by itself.`), true
}

func judgeRemapping(f Facts) (apitype.Check, bool) {
	const name = "user namespaces"
	if f.Engine == "" {
		return apitype.Check{}, false
	}
	if f.Remapped {
		return ok(name, "The engine remaps user namespaces: root in a container is nobody on the host."), true
	}
	return warn(name, "The engine doesn't remap user namespaces: containers with people's directories run as their owner, others as the host's root with few capabilities.",
		"Run 'ds01 remap --dry-run'; images move along, containers have to go before, so announce it. docs/admins/red-team.md says what it keeps out."), true
}

// keysPerHost is how many containers a lab may have at once.
const keysPerHost = 2000

func judgeKeys(f Facts) (apitype.Check, bool) {
	const name = "kernel keys"
	if !f.Remapped || f.MaxKeys == 0 {
		return apitype.Check{}, false // the host's own root has a limit of its own, of a million
	}
	if f.MaxKeys >= keysPerHost {
		return ok(name, fmt.Sprintf("kernel.keys.maxkeys is %d: each container takes one.", f.MaxKeys)), true
	}
	return warn(name, fmt.Sprintf("kernel.keys.maxkeys is %d: each container takes a key of the remapped root's, so no more than about %d run at once.", f.MaxKeys, f.MaxKeys),
		fmt.Sprintf("sysctl -w kernel.keys.maxkeys=%d kernel.keys.maxbytes=%d, and the same in /etc/sysctl.d/ds01.conf.", keysPerHost, keysPerHost*125)), true
}

func judgeGroup(f Facts) (apitype.Check, bool) {
	const name = "docker group"
	if len(f.DockerGroup) == 0 {
		return ok(name, "Nobody is in the group docker."), true
	}
	members := slices.Sorted(slices.Values(f.DockerGroup))
	return warn(name, fmt.Sprintf("In the group docker: %s. Wherever an engine listens for that group, they are root on the host.", strings.Join(members, ", ")),
		"ds01 doesn't need it: gpasswd -d USER docker, for each."), true
}

// JudgeMember tells somebody that they are in the group docker.
func JudgeMember(login string) apitype.Check {
	return warn("docker group", login+" is in the group docker, which ds01 doesn't need: wherever an engine listens for that group, it is root on the host.",
		"Ask your administrators to take you out: gpasswd -d "+login+" docker.")
}

// usualGateway is where Docker's clients look.
const usualGateway = "/run/docker.sock"

func judgeGateway(f Facts) (apitype.Check, bool) {
	const name = "gateway"
	switch f.Gateway {
	case "":
		return apitype.Check{}, false
	case usualGateway, "/var" + usualGateway:
		return ok(name, "The gateway is where Docker's clients look, "+usualGateway+"."), true
	}
	return warn(name, fmt.Sprintf("The gateway listens at %s; Docker's clients look at %s.", f.Gateway, usualGateway),
		"Set gateway.listen in ds01.yaml to unix://"+usualGateway+", or DOCKER_HOST=unix://"+f.Gateway+" for everybody."), true
}

// JudgeSockets says of each socket that it must not be open.
func JudgeSockets(sockets []Socket) []apitype.Check {
	const name = "engine sockets"
	if len(sockets) == 0 {
		return []apitype.Check{ok(name, "No socket leads to an engine past ds01.")}
	}
	checks := make([]apitype.Check, len(sockets))
	for i, s := range sockets {
		checks[i] = fail(name, fmt.Sprintf("%s at %s is open to %s: who opens it is past every limit, and root if the engine is.", s.Speaks, s.Where, s.OpenTo),
			"Administrators: let it listen for root only, or stop it. Engine: \"hosts\" in /etc/docker/daemon.json, or ExecStart and docker.socket of its unit.")
	}
	return checks
}
