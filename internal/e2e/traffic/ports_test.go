package traffic_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// fromHost fetches from an address of the engine's host.
func fromHost(l *lab.Lab, address string) string {
	out, err := exec.Command("nsenter", "--net="+l.Engine.NetNS(), "curl", "-s", "--max-time", "3", "http://"+address+"/").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func publishedPortsAreOnesOwn(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		defer clearNetworks(l)
		seen := map[string]string{}
		for _, who := range []string{"alice", "bob"} {
			serve(l, docker, who, "web", "-p", "80")
			serve(l, docker, who, "all", "--expose", "80", "-P")
			for _, name := range []string{"web", "all"} {
				at := l.OK(who, docker, "port", name, "80/tcp")
				if !strings.HasPrefix(at, "127.0.0.1:2") || seen[at] != "" {
					t.Errorf("%s's %s is at %q, as %s is", who, name, at, seen[at])
				}
				seen[at] = who + "'s " + name
				l.Eventually(at+" answers", 30*time.Second, func() bool { return fromHost(l, at) == "hello "+name })
				lab.Contains(t, l.OK(who, docker, "ps"), at+"->80/tcp")
			}
			// What was fixed when it was made holds at each start.
			at := l.OK(who, docker, "port", "web", "80/tcp")
			l.OK(who, docker, "restart", "-t", "0", "web")
			if again := l.OK(who, docker, "port", "web", "80/tcp"); again != at {
				t.Errorf("%s's port was %s, is %s", who, at, again)
			}
		}
	})
}

func aPortThatCantBeSaysWhichCan(t *testing.T, l *lab.Lab) {
	serve(l, "docker", "alice", "web", "-p", "80")
	serve(l, "docker", "bob", "web", "-p", "80")
	_, taken, _ := strings.Cut(l.OK("alice", "docker", "port", "web", "80/tcp"), ":")
	_, bobs, _ := strings.Cut(l.OK("bob", "docker", "port", "web", "80/tcp"), ":")
	for name, c := range map[string]struct {
		publish string
		says    []string
	}{
		"of the system":  {"80:80", []string{"port 80 of the host isn't one of yours", "Yours are " + taken + "-"}},
		"of bob's range": {bobs + ":80", []string{"port " + bobs + " of the host isn't one of yours"}},
		"taken":          {taken + ":80", []string{"taken"}},
		"everywhere":     {"0.0.0.0::80", []string{"aren't published at 0.0.0.0", "127.0.0.1 may be used"}},
		"sctp":           {"80/sctp", []string{"tcp and udp are"}},
	} {
		r := l.Docker("alice", "run", "--rm", "-p", c.publish, "busybox", "true")
		if r.Code == 0 {
			t.Errorf("%s was published", name)
		}
		lab.Contains(t, r.Err, c.says...)
	}
	r := l.Docker("alice", "run", "--rm", "--network", "none", "-p", "80", "busybox", "true")
	lab.Contains(t, r.Err, "without a network")
	l.OK("alice", "docker", "rm", "-f", "web")
	serve(l, "docker", "alice", "again", "-p", taken+":80")
	l.Eventually("the port is free again", 30*time.Second, func() bool { return fromHost(l, "127.0.0.1:"+taken) == "hello again" })
}

// TestPortsThatAreNotOnesOwnAnyMoreStayShut changes the ranges under a
// container that stands still.
func TestPortsThatAreNotOnesOwnAnyMoreStayShut(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, NetNS: true, Config: `ports: {range: "20000-20199", per_person: 100, addresses: ["127.0.0.1", "0.0.0.0"]}`})
	serve(l, "docker", "alice", "web", "-p", "80", "-p", "0.0.0.0:20050:80")
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.Write("etc/ds01/ds01.yaml", strings.Replace(l.Read("etc/ds01/ds01.yaml"), `"20000-20199"`, `"30000-30199"`, 1))
	l.Reload()
	r := l.Docker("alice", "start", "web")
	if r.Code == 0 {
		t.Error("it started")
	}
	lab.Contains(t, r.Err, "port 20000 of the host isn't one of yours", "30000-30099")
}

// TestAHostWithoutNetworks runs an engine without a bridge.
func TestAHostWithoutNetworks(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}})
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		for _, mode := range []string{"default", "bridge", "none"} {
			if got := l.OK("alice", docker, "run", "--rm", "--network", mode, "busybox", "ls", "/sys/class/net"); got != "lo" {
				t.Errorf("%s: it has %q", mode, got)
			}
		}
		lab.Contains(t, l.Run("alice", docker, "run", "--rm", "-p", "80", "busybox", "true").Err, "runs without networks", "Leave -p away")
		lab.Contains(t, l.Run("alice", docker, "network", "create", "net").Err, "runs without networks")
		lab.Contains(t, strings.ToLower(l.Run("alice", docker, "run", "--rm", "--network", "net", "busybox", "true").Err), "not found")
		lab.Contains(t, l.OK("alice", docker, "network", "ls"), "none")
	})
}
