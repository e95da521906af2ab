package tenants_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/event"
)

// site are rules about the people of a lab: bob holds no GPU, what alice runs
// is small, and what is labelled lonely has no network.
func site(l *lab.Lab) string {
	return fmt.Sprintf(`package ds01.site

begun if input.action in {"container.create", "container.start"}

deny contains "bob has no GPU today" if {
	begun
	input.user.name == %[2]q
	count(input.request.gpus) > 0
}

deny contains msg if {
	input.action == "image.pull"
	input.request.image.registry == "evil.example"
	msg := sprintf("nothing comes from %%s", [input.request.image.registry])
}

deny contains "nobody starts it" if {
	input.action == "container.start"
	input.request.labels.tired
}

tighten contains {"memory": units.parse_bytes("64MiB"), "pids_limit": 30, "message": "small is enough"} if {
	startswith(input.action, "container.")
	input.user.name == %[1]q
}

tighten contains {"network": "none", "message": "it is lonely"} if {
	input.action == "container.create"
	input.request.labels.lonely
}
`, l.Login("alice"), l.Login("bob"))
}

// A policed lab has rules of its own.
type policed struct {
	*lab.Lab
	t *testing.T
}

// refused wants a command to fail with every one of these words.
func (p policed) refused(who string, command []string, words ...string) {
	p.t.Helper()
	r := p.Run(who, command...)
	if r.Code == 0 {
		p.t.Errorf("%s: %v went well", who, command)
	}
	lab.Contains(p.t, r.Err, words...)
}

// small wants the kernel to hold alice's container to what the rules say.
func (p policed) small(name string) {
	p.t.Helper()
	g, pid := lab.NewControlGroups(p.t), p.PIDOf("alice", name)
	if memory, tasks := g.Number(pid, "memory limit", 0), g.Number(pid, "tasks limit", 0); memory != 64*lab.MiB || tasks != 30 {
		p.t.Errorf("%s: %d bytes and %d processes", name, memory, tasks)
	}
}

// TestSitePolicy is what the site's own rules do to people with stock clients
// and with ds01's own commands.
func TestSitePolicy(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Admins: []string{"ada"}, NetNS: true, NoStart: true})
	p := policed{l, t}
	p.WritePolicy("site.rego", site(l))
	p.WritePolicy("site_test.rego", "this is no rule at all")
	l.StartDaemon()
	p.explained()
	p.denied()
	p.tightened()
	p.lonely()
	p.writtenDown()
	p.brokenRulesChangeNothing()
	l.ClearAll()
}

// explained: what would become of a request is told field by field, with what
// set each, and nothing comes of it.
func (p policed) explained() {
	t := p.t
	before := p.Read("daemon.log")
	var e apitype.Explanation
	text := p.OK("alice", binary, "policy", "eval", "--json", "--", "docker", "run", "--rm", "--name", "web", "-m", "1g", "--gpus", "1", "-e", "A=1", "-p", "80", "busybox", "true")
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, f := range e.Fields {
		set[f.Field] = fmt.Sprint(f.Value) + " " + f.SetBy
	}
	for field, want := range map[string]string{
		"HostConfig.Memory": "6.7108864e+07 site policy, site.rego:22", "HostConfig.PidsLimit": "30 site policy, site.rego:22", "Cmd": "[true] request",
		"HostConfig.NanoCpus": "2e+09 max_cpus, ", "HostConfig.AutoRemove": "true request", "Labels": "ds01", "HostConfig.CapDrop": "[MKNOD] ds01",
	} {
		if !strings.HasPrefix(set[field], want) && !strings.HasSuffix(set[field], want) {
			t.Errorf("%s: %s", field, set[field])
		}
	}
	if !e.Allowed || e.Name != "web" || e.User != p.Login("alice") || e.Registry != "docker.io" || len(e.Slots) != 1 || len(e.Warnings) != 2 {
		t.Errorf("%+v", e)
	}
	p.refused("ada", []string{binary, "policy", "eval", "--user", p.Login("bob"), "--", "docker", "run", "--gpus", "1", "busybox"}, "Container unnamed not created", "bob has no GPU today (site.rego:5)")
	if r := p.DS01("alice", "policy", "eval", "--", "docker", "run", "-m", "900g", "busybox"); r.Code != 5 || !strings.Contains(r.Err, "is over your limit") {
		t.Errorf("%+v", r)
	}
	if r := p.DS01("alice", "policy", "eval", "--user", p.Login("bob"), "--", "docker", "run", "busybox"); r.Code != 5 {
		t.Errorf("%+v", r)
	}
	if r := p.DS01("alice", "policy", "eval", "--", "docker", "run", "--privileged", "--no-such-flag", "busybox"); r.Code != 2 || !strings.Contains(r.Err, "no-such-flag") {
		t.Errorf("%+v", r)
	}
	if n := len(p.EngineContainers()); n > 0 || len(p.Containers()) > 0 {
		t.Errorf("%d containers were made", n)
	}
	for _, e := range events(t, p.Lab) {
		if e.Decision == event.Allowed && e.UID == p.UID("alice") {
			t.Errorf("it is written down that %+v", e)
		}
	}
	if said := strings.TrimPrefix(p.Read("daemon.log"), before); strings.Contains(said, "level=ERROR") {
		t.Error(said)
	}
}

// denied: nothing comes of what the rules deny, whoever asks, by either door.
func (p policed) denied() {
	p.refused("bob", []string{"docker", "run", "--name", "web", "--gpus", "1", "busybox", "true"},
		"ds01: Container web not created: site policy: bob has no GPU today (site.rego:5).", "administrators")
	p.refused("bob", []string{binary, "container", "deploy", "desk", "--gpus", "1", "--background"}, "site policy: bob has no GPU today (site.rego:5)")
	p.refused("bob", []string{"docker", "pull", "evil.example/x"}, "site policy: nothing comes from evil.example (site.rego:11)")
	if n := len(p.EngineContainers()); n > 0 {
		p.t.Errorf("%d containers of requests that were denied", n)
	}
	p.OK("bob", "docker", "create", "--name", "tired", "--label", "tired=yes", "busybox", "true")
	p.refused("bob", []string{"docker", "start", "tired"}, "Container tired not started: site policy: nobody starts it (site.rego:17)")
	p.refused("ada", []string{"docker", "start", p.EngineName("bob", "tired")}, "nobody starts it")
}

// tightened: alice's containers are small, and an update doesn't undo it.
func (p policed) tightened() {
	r := p.Docker("alice", "run", "-d", "--name", "web", "-m", "1g", "busybox", "sleep", "1000")
	if r.Code != 0 {
		p.t.Fatal(r.Err)
	}
	lab.Contains(p.t, r.Err, "site policy set memory to 64MiB: small is enough (site.rego:22)", "pids_limit to 30")
	p.small("web")
	p.OK("alice", "docker", "update", "--memory", "512m", "--memory-swap", "512m", "web")
	p.small("web")
	made := p.DS01("alice", "container", "deploy", "desk", "--background")
	lab.Contains(p.t, made.Out+made.Err, "site policy set memory to 64MiB")
	p.small("desk")
}

// lonely: a network that was taken away can't be had back.
func (p policed) lonely() {
	p.OK("bob", "docker", "run", "-d", "--name", "lonely", "--label", "lonely=yes", "busybox", "sleep", "1000")
	if links := p.OK("bob", "docker", "exec", "lonely", "ls", "/sys/class/net"); links != "lo" {
		p.t.Errorf("it has %s", links)
	}
	p.OK("bob", "docker", "network", "create", "company")
	for _, words := range [][]string{{"network", "disconnect", "none", "lonely"}, {"network", "connect", "company", "lonely"}} {
		if r := p.Docker("bob", words...); r.Code == 0 {
			p.t.Errorf("%v went well", words)
		}
	}
	p.OK("bob", "docker", "network", "rm", "company")
	p.refused("bob", []string{"docker", "run", "--label", "lonely=yes", "-p", "80", "busybox", "true"}, "-p needs one: it is lonely")
}

// writtenDown wants the audit log to say which rule denied and which tightened.
func (p policed) writtenDown() {
	p.t.Helper()
	var denied, tightened bool
	for _, e := range events(p.t, p.Lab) {
		denied = denied || e.Decision == event.Denied && e.Action == "image pull" && strings.Contains(e.Why, "site.rego:11")
		tightened = tightened || e.Decision == event.Allowed && e.Action == "container create" && strings.Contains(e.Why, "memory set to 64MiB (site.rego:22)")
	}
	if !denied || !tightened {
		p.t.Errorf("denied %v, tightened %v", denied, tightened)
	}
}

// brokenRulesChangeNothing: at a reload the last good rules stay, at a start
// there are none, and then nothing is allowed.
func (p policed) brokenRulesChangeNothing() {
	t := p.t
	deny := []string{"docker", "run", "--name", "w", "--gpus", "1", "busybox", "true"}
	p.WritePolicy("site.rego", "package ds01.site\n\ndeny contains \"x\" if http.send({}).y\n")
	p.Signal(syscall.SIGHUP)
	p.Eventually("the log says that the rules are broken", 10*time.Second, func() bool {
		return strings.Contains(p.Log(), "undefined function http.send")
	})
	p.refused("bob", deny, "bob has no GPU today (site.rego:5)")
	lab.Contains(t, p.DS01("ada", "doctor").Out, "The rules on disk are not in force, the last good ones are", "site.rego:3: undefined function http.send")

	p.EndDaemon(syscall.SIGTERM)
	p.StartDaemon()
	p.refused("bob", []string{"docker", "run", "--name", "w", "busybox", "true"}, "Container w not created: site policy: it can't be judged", "undefined function http.send")
	p.refused("bob", []string{"docker", "start", "tired"}, "Container tired not started: site policy: it can't be judged")
	p.refused("alice", []string{"docker", "pull", "busybox"}, "it can't be judged")
	lab.Contains(t, p.DS01("bob", "doctor").Out, "It is broken, so no container is created or started")

	if err := os.RemoveAll(filepath.Join(p.Root, "etc/ds01/policy")); err != nil {
		t.Fatal(err)
	}
	p.Reload()
	p.OK("bob", append([]string{"docker", "run", "--rm"}, deny[4:]...)...)
}
