package traffic_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// server is a container's program that answers "hello NAME" on port 80.
func server(name string) []string {
	return []string{"busybox", "sh", "-c", "mkdir /www; echo hello " + name + " >/www/index.html; exec httpd -f -p 80 -h /www"}
}

// serve runs a server as a person, with more words for docker run.
func serve(l *lab.Lab, docker, who, name string, words ...string) {
	all := append([]string{docker, "run", "-d", "--name", name}, words...)
	l.OK(who, append(all, server(name)...)...)
}

// fetches asks the server at a host as a container would, and returns the last
// line of its answer, "" where none comes.
func fetches(t *testing.T, l *lab.Lab, docker, who, container, host string) string {
	t.Helper()
	r := l.Run(who, docker, "exec", container, "sh", "-c", `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 `+host+" 80")
	if r.Code != 0 && !strings.Contains(r.Err, "timed out") && !strings.Contains(r.Err, "bad address") && !strings.Contains(r.Err, "refused") && !strings.Contains(r.Err, "unreachable") {
		t.Errorf("%s's %s asked %s: %d %s", who, container, host, r.Code, r.Err)
	}
	return r.Out[strings.LastIndex(r.Out, "\n")+1:]
}

// addressOf returns where a container is on its first network, by the
// engine's word.
func addressOf(l *lab.Lab, engineName string) string {
	return strings.Fields(l.AtEngine("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", engineName))[0]
}

// TestNetworks is what people's containers reach, on an engine with networks.
func TestNetworks(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Admins: []string{"ada"}, NetNS: true, Limits: "defaults:\n  max_containers_per_user: 9\n"})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"containers of two people never meet by default": containersOfTwoPeopleNeverMeet,
		"two people follow the same tutorial":            twoPeopleFollowTheSameTutorial,
		"others' networks are not there":                 othersNetworksAreNotThere,
		"networks that reach beyond are refused":         networksThatReachBeyondAreRefused,
		"a container joins and leaves networks":          aContainerJoinsAndLeaves,
		"a network that was tidied away comes back":      aNetworkThatWasTidiedAwayComesBack,
		"networks that nothing runs in are pruned":       idleNetworksArePruned,
		"events of networks and volumes are one's own":   eventsOfNetworksAndVolumesAreOnesOwn,
		"published ports are one's own":                  publishedPortsAreOnesOwn,
		"a port that can't be says which can":            aPortThatCantBeSaysWhichCan,
	} {
		t.Run(name, func(t *testing.T) {
			defer clearNetworks(l)
			story(t, l)
		})
	}
}

// clearNetworks removes everybody's containers, networks and volumes.
func clearNetworks(l *lab.Lab) {
	l.ClearAll()
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, "docker", "network", "prune", "-f")
		l.OK(who, "docker", "volume", "prune", "-f")
	}
}

func containersOfTwoPeopleNeverMeet(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		defer l.ClearAll()
		for _, who := range []string{"alice", "bob"} {
			serve(l, docker, who, "web")
			l.OK(who, docker, "run", "-d", "--name", "other", "--network", "bridge", "busybox", "sleep", "1000")
			l.Eventually(who+" reaches their own by its name", 30*time.Second, func() bool { return fetches(t, l, docker, who, "other", "web") == "hello web" })
		}
		alice := addressOf(l, l.EngineName("alice", "web"))
		l.Eventually("alice reaches her own by its address", 30*time.Second, func() bool { return fetches(t, l, docker, "alice", "other", alice) == "hello web" })
		if got := fetches(t, l, docker, "bob", "other", alice); got != "" {
			t.Errorf("bob reaches alice's container: %q", got)
		}
		got := l.OK("alice", docker, "inspect", "-f", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}{{.HostConfig.NetworkMode}}", "web")
		if got != "bridge bridge" {
			t.Errorf("the network is called %q", got)
		}
		lab.Contains(t, l.OK("alice", docker, "ps", "--filter", "network=bridge", "--format", "{{.Names}} {{.Networks}}"), "web bridge", "other bridge")
		list := l.OK("alice", docker, "network", "inspect", "bridge", "-f", "{{range .Containers}}{{.Name}} {{end}}")
		lab.Contains(t, list, "web", "other")
		lab.Lacks(t, list, "._.")
	})
}

func twoPeopleFollowTheSameTutorial(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		defer clearNetworks(l)
		for _, who := range []string{"alice", "bob"} {
			l.OK(who, docker, "network", "create", "--label", "course=ml", "net")
			l.OK(who, docker, "volume", "create", "data")
			serve(l, docker, who, "db", "--network", "net", "--network-alias", "database", "-v", "data:/data")
			l.OK(who, docker, "exec", "db", "sh", "-c", "echo "+who+" >/data/who")
			l.OK(who, docker, "run", "-d", "--name", "app", "--network", "net", "--mount", "type=volume,src=data,dst=/in,readonly", "busybox", "sleep", "1000")
			for _, name := range []string{"db", "database"} {
				l.Eventually(who+" reaches "+name, 30*time.Second, func() bool { return fetches(t, l, docker, who, "app", name) == "hello db" })
			}
		}
		for _, who := range []string{"alice", "bob"} {
			if got := l.OK(who, docker, "exec", "app", "cat", "/in/who"); got != who {
				t.Errorf("%s reads %q", who, got)
			}
			if r := l.Run(who, docker, "exec", "app", "touch", "/in/x"); r.Code == 0 {
				t.Error("a volume mounted read-only was written to")
			}
			if got := l.OK(who, docker, "network", "ls", "--format", "{{.Name}}", "--filter", "label=course"); got != "net" {
				t.Errorf("%s's networks: %q", who, got)
			}
			if got := l.OK(who, docker, "volume", "ls", "-q"); got != "data" {
				t.Errorf("%s's volumes: %q", who, got)
			}
			got := l.OK(who, docker, "inspect", "db", "-f", "{{range .Mounts}}{{.Name}} {{end}}{{range .HostConfig.Mounts}}{{.Source}} {{end}}{{.HostConfig.NetworkMode}}")
			if got != "data data net" {
				t.Errorf("inspected: %q", got)
			}
			if got := l.OK(who, docker, "ps", "--filter", "volume=data", "--filter", "network=net", "--format", "{{.Names}} {{.Mounts}} {{.Networks}}"); strings.Count(got, "data net") != 2 {
				t.Errorf("listed: %q", got)
			}
			lab.Contains(t, l.OK(who, docker, "network", "inspect", "net", "-f", "{{.Name}} {{range .Containers}}{{.Name}} {{end}}"), "net ", "db", "app")
			lab.Lacks(t, l.OK(who, docker, "network", "inspect", "net"), "._.")
		}
		bob := addressOf(l, l.EngineName("bob", "db"))
		if got := fetches(t, l, docker, "alice", "app", bob); got != "" {
			t.Errorf("alice reaches bob's container: %q", got)
		}
	})
}

func othersNetworksAreNotThere(t *testing.T, l *lab.Lab) {
	id := l.OK("alice", "docker", "network", "create", "secret")
	l.OK("bob", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	engineName := l.EngineName("alice", "secret")
	for _, reference := range []string{"secret", engineName, id, id[:12], l.EngineName("alice", "default")} {
		for _, words := range [][]string{
			{"network", "inspect", reference},
			{"network", "rm", reference},
			{"network", "connect", reference, "web"},
			{"network", "disconnect", reference, "web"},
			{"run", "--rm", "--network", reference, "busybox", "true"},
		} {
			r := l.Docker("bob", words...)
			if r.Code == 0 || !strings.Contains(strings.ToLower(r.Err), "not found") && !strings.Contains(r.Err, "no name of a network") && !strings.Contains(r.Err, "No such network") {
				t.Errorf("%v: %d %s", words, r.Code, r.Err)
			}
		}
	}
	lab.Lacks(t, l.OK("bob", "docker", "network", "ls"), "secret", "host")
	for _, reference := range []string{"bridge", "none"} {
		if got := l.OK("bob", "docker", "network", "inspect", "-f", "{{.Name}}", reference); got != reference {
			t.Errorf("%s: %q", reference, got)
		}
	}
	if r := l.Docker("bob", "network", "inspect", "host"); r.Code == 0 {
		t.Error("bob sees the host's network")
	}
	if got := l.OK("ada", "docker", "network", "inspect", "-f", "{{.Name}}", engineName); got != engineName {
		t.Errorf("an administrator sees %q", got)
	}
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	if r := l.Docker("ada", "network", "connect", engineName, l.EngineName("bob", "web")); r.Code == 0 || !strings.Contains(r.Err, "two people") {
		t.Errorf("an administrator joins two people: %s", r.Err)
	}
	l.OK("alice", "docker", "network", "rm", id[:12])
}

func networksThatReachBeyondAreRefused(t *testing.T, l *lab.Lab) {
	for name, words := range map[string][]string{
		"the host's":                  {"run", "--rm", "--network", "host", "busybox", "true"},
		"macvlan":                     {"network", "create", "-d", "macvlan", "-o", "parent=eth0", "x"},
		"ipvlan":                      {"network", "create", "-d", "ipvlan", "x"},
		"overlay":                     {"network", "create", "-d", "overlay", "x"},
		"a subnet of one's choice":    {"network", "create", "--subnet", "10.0.0.0/8", "x"},
		"a bridge of the host's":      {"network", "create", "-o", "com.docker.network.bridge.name=docker0", "x"},
		"a label of ds01's":           {"network", "create", "--label", "aime.mlc.DS01_UID=0", "x"},
		"a static address":            {"run", "--rm", "--ip", "10.192.0.9", "--network", "bridge", "busybox", "true"},
		"a link":                      {"run", "--rm", "--link", "web", "busybox", "true"},
		"another's network by theirs": {"run", "--rm", "--network", "container:nobody", "busybox", "true"},
		"a name that is taken":        {"network", "create", "bridge"},
	} {
		if r := l.Docker("alice", words...); r.Code == 0 || !strings.Contains(r.Err, "ds01: ") {
			t.Errorf("%s: %d %s", name, r.Code, r.Err)
		}
	}
	l.OK("bob", "docker", "run", "-d", "--name", "victim", "busybox", "sleep", "1000")
	victim := l.AtEngine("inspect", "-f", "{{.Id}}", l.EngineName("bob", "victim"))
	for _, reference := range []string{"victim", victim, l.EngineName("bob", "victim")} {
		if r := l.Docker("alice", "run", "--rm", "--network", "container:"+reference, "busybox", "true"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
			t.Errorf("alice shares the network of bob's container: %s", r.Err)
		}
	}
	for i := range 8 {
		l.OK("alice", "docker", "network", "create", "net"+string(rune('a'+i)))
	}
	if r := l.Docker("alice", "network", "create", "more"); r.Code == 0 || !strings.Contains(r.Err, "the limit is 8") {
		t.Errorf("beyond the limit: %s", r.Err)
	}
	if r := l.Docker("alice", "network", "create", "neta"); r.Code == 0 || !strings.Contains(r.Err, "already") {
		t.Errorf("twice: %s", r.Err)
	}
	status, _ := l.Ask("alice", "POST", "/networks/create", `{"Name":"x","Driver":"bridge","Options":{"com.docker.network.bridge.host_binding_ipv4":"0.0.0.0"}}`)
	if status != 403 {
		t.Errorf("an address to bind: %d", status)
	}
}

func aContainerJoinsAndLeaves(t *testing.T, l *lab.Lab) {
	const docker = "docker"
	l.OK("alice", docker, "network", "create", "--internal", "--opt", "com.docker.network.driver.mtu=1400", "quiet")
	serve(l, docker, "alice", "web")
	l.OK("alice", docker, "run", "-d", "--name", "app", "--network", "quiet", "busybox", "sleep", "1000")
	if got := fetches(t, l, docker, "alice", "app", "web"); got != "" {
		t.Errorf("it is reached before it joined: %q", got)
	}
	l.OK("alice", docker, "network", "connect", "--alias", "site", "quiet", "web")
	for _, name := range []string{"web", "site"} {
		l.Eventually("it is reached as "+name, 30*time.Second, func() bool { return fetches(t, l, docker, "alice", "app", name) == "hello web" })
	}
	lab.Contains(t, l.OK("alice", docker, "inspect", "-f", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}", "web"), "bridge", "quiet")
	l.OK("alice", docker, "network", "disconnect", "quiet", "web")
	if got := fetches(t, l, docker, "alice", "app", "web"); got != "" {
		t.Errorf("it is reached after it left: %q", got)
	}
	if r := l.Run("alice", docker, "network", "connect", "--ip", "10.192.0.50", "quiet", "web"); r.Code == 0 {
		t.Error("an address was chosen")
	}
	serve(l, docker, "alice", "twin", "--network", "container:web", "-e", "A=b")
	if r := l.Run("alice", docker, "network", "rm", "quiet"); r.Code == 0 || strings.Contains(r.Err, "._.") {
		t.Errorf("a network in use: %s", r.Err)
	}
}

func aNetworkThatWasTidiedAwayComesBack(t *testing.T, l *lab.Lab) {
	serve(l, "docker", "alice", "web")
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.AtEngine("network", "prune", "-f")
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "run", "-d", "--name", "other", "busybox", "sleep", "1000")
	l.Eventually("it is reached", 30*time.Second, func() bool { return fetches(t, l, "docker", "alice", "other", "web") == "hello web" })
}

func idleNetworksArePruned(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		l.OK(who, "docker", "network", "create", "--label", "keep=no", "idle")
		l.OK(who, "docker", "network", "create", "used")
		l.OK(who, "docker", "run", "-d", "--network", "used", "busybox", "sleep", "1000")
	}
	for _, filter := range []string{"until=1h", "until=2001-01-01T10:00:00Z", "label=keep=yes", "label!=keep"} {
		lab.EachClient(t, l, func(t *testing.T, docker string) {
			if got := l.OK("alice", docker, "network", "prune", "-f", "--filter", filter); got != "" {
				t.Errorf("%s: %s", filter, got)
			}
		})
	}
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		l.OK("alice", docker, "network", "create", "--label", "keep=no", "more")
		lab.Contains(t, l.OK("alice", docker, "network", "prune", "-f", "--filter", "until=0s", "--filter", "label=keep=no"), "more")
		l.OK("alice", docker, "network", "create", "--label", "keep=no", "idle")
	})
	got := l.OK("alice", "docker", "network", "prune", "-f")
	lab.Contains(t, got, "idle")
	lab.Lacks(t, got, "used", "._.", "bridge")
	lab.Lacks(t, l.OK("alice", "docker", "network", "ls"), "idle")
	lab.Contains(t, l.OK("bob", "docker", "network", "ls"), "idle", "used")
	l.OK("alice", "docker", "network", "create", "idle")
}

func eventsOfNetworksAndVolumesAreOnesOwn(t *testing.T, l *lab.Lab) {
	const format = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}"
	since := l.OK("root", "date", "+%s.%N")
	listen := func(who, docker string, words ...string) string {
		until := l.OK("root", "date", "+%s.%N")
		return l.OK(who, append([]string{docker, "events", "--since", since, "--until", until, "--format", format}, words...)...)
	}
	live, _ := lab.Background(t, l, "alice", "docker", "events", "--since", since, "--format", format)
	ids := map[string]string{}
	for _, who := range []string{"alice", "bob"} {
		ids[who] = l.OK(who, "docker", "network", "create", "net")
		l.OK(who, "docker", "volume", "create", "data")
		l.OK(who, "docker", "run", "-d", "--name", "web", "--network", "net", "-v", "data:/data", "-v", "/loose", "busybox", "sleep", "1000")
		l.OK(who, "docker", "network", "connect", "bridge", "web")
		l.OK(who, "docker", "rm", "-fv", "web")
		l.OK(who, "docker", "network", "rm", "net")
		l.OK(who, "docker", "volume", "rm", "data")
	}
	net := func(action string) string { return "network " + action + " " + ids["alice"] + " net" }
	want := []string{
		net("create"), net("connect"), net("disconnect"), net("destroy"),
		"volume create data", "volume mount data", "volume unmount data", "volume destroy data",
	}
	l.Eventually("alice has heard of the end of her volume", 30*time.Second, func() bool { return strings.Contains(live.String(), "volume destroy data") })
	lab.Contains(t, live.String(), want...)
	for _, action := range []string{"create", "mount", "unmount", "destroy"} {
		if !regexp.MustCompile(`volume ` + action + ` [0-9a-f]{64}`).MatchString(live.String()) {
			t.Errorf("alice doesn't hear that her volume without a name is at %s:\n%s", action, live)
		}
	}
	lab.Lacks(t, live.String(), ids["bob"], "._.")
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		all := listen("alice", docker)
		lab.Contains(t, all, append(want, "container start")...)
		lab.Lacks(t, all, ids["bob"], "._.")
		lab.Contains(t, listen("alice", docker, "--filter", "type=volume"), want[4:]...)
		lab.Lacks(t, listen("alice", docker, "--filter", "type=volume"), "network", "container")
		volume := listen("alice", docker, "--filter", "volume=data")
		lab.Contains(t, volume, want[4:]...)
		lab.Contains(t, listen("alice", docker, "--filter", "network=net"), want[:4]...)
		lab.Contains(t, listen("alice", docker, "--filter", "network=bridge"), " bridge")
		for _, got := range []string{volume, listen("alice", docker, "--filter", "network=bridge")} {
			lab.Lacks(t, got, " net", "container", "._.")
		}
		if got := listen("alice", docker, "--filter", "network="+ids["bob"]); got != "" {
			t.Errorf("of bob's network alice hears %s", got)
		}
	})
	lab.Contains(t, listen("ada", "docker"), ids["alice"], ids["bob"], l.EngineName("alice", "data"), l.EngineName("bob", "data"))
}
