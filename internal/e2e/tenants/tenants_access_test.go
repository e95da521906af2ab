package tenants_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/e2e/lab"
)

func liveEventsAreOnesOwn(t *testing.T, l *lab.Lab) {
	alice, _ := lab.Background(t, l, "alice", "docker", "events", "--format", "{{.Action}} {{.ID}}")
	bob, _ := lab.Background(t, l, "bob", "docker", "events", "--format", "{{.Action}} {{.ID}}")
	ada, _ := lab.Background(t, l, "ada", "docker", "events", "--format", "{{.Action}} {{.ID}}")
	// An event before a stream has begun isn't in it, so containers are made until one is.
	var his string
	l.Eventually("everybody hears of what is theirs", 20*time.Second, func() bool {
		l.OK("alice", "docker", "run", "--rm", "busybox", "true")
		his = l.OK("bob", "docker", "run", "-d", "busybox", "true")
		l.OK("bob", "docker", "rm", "-f", his)
		return strings.Contains(alice.String(), "start") && strings.Contains(bob.String(), "destroy "+his) && strings.Contains(ada.String(), "destroy "+his)
	})
	lab.Contains(t, bob.String(), "create "+his, "start "+his, "die "+his)
	lab.Lacks(t, alice.String(), his)
}

func whatTheEngineTellsIsOnesOwn(t *testing.T, l *lab.Lab) {
	how := map[string]admission.InfoHow{}
	for _, f := range admission.InfoFields() {
		how[f.Name] = f.How
	}
	fields := func(who string) map[string]json.RawMessage {
		var all map[string]json.RawMessage
		if status, answer := l.Ask(who, "GET", "/info", ""); status != 200 || json.Unmarshal([]byte(answer), &all) != nil {
			t.Fatalf("%s: %d %s", who, status, answer)
		}
		return all
	}
	for name := range fields("ada") { // who gets the engine's own words
		if how[name] == "" {
			t.Errorf("the engine tells %s, and nobody has looked at it", name)
		}
	}
	for name := range fields("bob") {
		if how[name] == "" || how[name] == admission.InfoLeftOut {
			t.Errorf("bob is told %s", name)
		}
	}
	l.OK("bob", "docker", "create", "--name", "made", "busybox")
	for _, name := range []string{"runs", "paused"} {
		l.OK("bob", "docker", "run", "-d", "--name", name, "busybox", "sleep", "1000")
		l.OK("alice", "docker", "run", "-d", "--name", name, "busybox", "sleep", "1000")
	}
	l.OK("bob", "docker", "pause", "paused")
	l.OK("alice", "docker", "commit", "runs", "hers")
	defer l.OK("alice", "docker", "rmi", "hers")
	const counts = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}}"
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		for who, want := range map[string]string{"bob": "3 1 1 1 1", "alice": "2 2 0 0 2", "carol": "0 0 0 0 1"} {
			if got := l.OK(who, docker, "info", "-f", counts); got != want {
				t.Errorf("%s is told %s, want %s", who, got, want)
			}
			listed := []int{len(strings.Fields(l.OK(who, docker, "ps", "-aq"))), len(strings.Fields(l.OK(who, docker, "images", "-q")))}
			if !strings.HasPrefix(want, fmt.Sprint(listed[0])) || !strings.HasSuffix(want, fmt.Sprint(listed[1])) {
				t.Errorf("%s lists %v", who, listed)
			}
		}
		lab.Contains(t, l.OK("bob", docker, "info"), "Server Version: ", "Storage Driver: overlay2", "Total Memory: ")
	})
}

func peopleInNoGroupAreRefused(t *testing.T, l *lab.Lab) {
	for _, r := range admission.Routes() {
		if r.Method == http.MethodHead {
			continue // without a body there is no message
		}
		path := strings.NewReplacer("{id}", "web", "{image}", "busybox").Replace(r.Pattern)
		status, answer := l.Ask("otto", r.Method, path, bodyOf(r))
		if status != 403 || !strings.Contains(answer, "group") {
			t.Errorf("%s %s: status %d, want 403 that names the group: %s", r.Method, path, status, answer)
		}
	}
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		r := l.Run("otto", docker, "ps")
		if r.Code == 0 {
			t.Error("otto lists containers")
		}
		lab.Contains(t, r.Err, "ds01:", l.Login("otto"), "ds01 doctor")
	})
	if r := l.DS01("otto", "container", "list"); r.Code != 5 {
		t.Errorf("container list: exit code %d, want 5: %s", r.Code, r.Err)
	}
}

func administratorsSeeAndReachEverything(t *testing.T, l *lab.Lab) {
	hers := l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	his := l.OK("bob", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	own := l.OK("ada", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	for _, admin := range []string{"ada", "root"} {
		lab.Contains(t, l.OK(admin, "docker", "ps", "-q", "--no-trunc"), hers, his, own)
	}
	if got := l.OK("ada", "docker", "inspect", "-f", "{{.Id}}", "web"); got != own {
		t.Errorf("ada's web is %s, want her own", got)
	}
	engineName := fmt.Sprintf("web._.%d", l.UID("bob"))
	if got := l.OK("ada", "docker", "exec", engineName, "hostname"); got == "" {
		t.Error("ada's command in bob's container says nothing")
	}
	l.OK("ada", "docker", "stop", "-t", "0", hers)
	l.OK("root", "docker", "rm", "-f", engineName)
	if got := l.OK("alice", "docker", "inspect", "-f", "{{.State.Status}}", "web"); got != "exited" {
		t.Errorf("alice's container is %s after ada stopped it", got)
	}
	if got := l.OK("bob", "docker", "ps", "-aq"); got != "" {
		t.Errorf("bob's container is still there: %s", got)
	}
	if r := l.DS01("alice", "container", "list", "--user", l.Login("bob")); r.Code != 5 {
		t.Errorf("alice acts for bob: exit code %d, want 5: %s", r.Code, r.Err)
	}
}

// whoIsOverALimitHearsWhichAndWhence gives carol an override of one device, so
// that the refusal has a rule and a line to name.
func whoIsOverALimitHearsWhichAndWhence(t *testing.T, l *lab.Lab) {
	l.Write("etc/ds01/resource-limits.yaml", fmt.Sprintf(`defaults:
  max_mig_instances: 3
  max_gpu_share: 3
  max_containers_per_user: 2
user_overrides:
  %s:
    max_mig_instances: 1
    reason: a test
`, l.Login("carol")))
	defer func() {
		os.Remove(filepath.Join(l.Root, "etc/ds01/resource-limits.yaml"))
		l.Reload()
	}()
	l.Reload()
	l.OK("carol", "docker", "run", "-d", "--name", "one", "--gpus", "1", "busybox", "sleep", "1000")
	whence := []string{"1/1", "max_mig_instances", "user_overrides." + l.Login("carol"), "resource-limits.yaml:7"}
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		r := l.Run("carol", docker, "run", "-d", "--name", "two", "--gpus", "1", "busybox", "sleep", "1000")
		if r.Code != 125 {
			t.Errorf("exit code %d, want docker's 125", r.Code)
		}
		lab.Contains(t, r.Err, whence...)
	})
	r := l.DS01("carol", "container", "deploy", "two", "--gpus", "1", "--background")
	if r.Code != 5 {
		t.Errorf("container deploy: exit code %d, want 5", r.Code)
	}
	lab.Contains(t, r.Err, whence...)
	if status, _ := l.Ask("carol", "POST", "/containers/create", `{"Image":"busybox","HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`); status != 429 {
		t.Errorf("status %d, want 429", status)
	}
	l.OK("carol", "docker", "run", "-d", "--name", "two", "busybox", "sleep", "1000")
	r = l.Docker("carol", "run", "-d", "--name", "three", "busybox", "sleep", "1000")
	lab.Contains(t, r.Err, "2 containers", "limit is 2", "max_containers_per_user", "resource-limits.yaml:4")
	if got := len(l.Containers()); got != 2 {
		t.Errorf("%d containers after the refusals, want 2", got)
	}
}

// processesInsideContainersAreRefused connects from the namespaces of a real
// container of alice's, with her own uid where that namespace has it, and from
// a namespace that she makes herself.
func processesInsideContainersAreRefused(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	pid := l.OK("alice", "docker", "inspect", "-f", "{{.State.Pid}}", "web")
	curl := []string{"curl", "-s", "--unix-socket", l.GatewaySocket(), "http://docker/v1.41/containers/json"}
	api := []string{"curl", "-s", "--unix-socket", filepath.Join(l.Root, "run/ds01/ds01.sock"), "http://ds01/v1/containers"}
	uid := fmt.Sprint(l.UID("alice"))
	for name, from := range map[string]struct {
		who   string
		words []string
	}{
		"the container's user namespace as root":   {"root", []string{"nsenter", "-t", pid, "-U", "-S", "0", "-G", "0"}},
		"the container's pid namespace as alice":   {"root", []string{"nsenter", "-t", pid, "-p", "setpriv", "--reuid", uid, "--clear-groups"}},
		"a user namespace of alice's own":          {"alice", []string{"unshare", "-U", "-r"}},
		"a user namespace in which she is alice":   {"alice", []string{"unshare", "-U", "--map-user=" + uid}},
		"a pid namespace below one of alice's own": {"alice", []string{"unshare", "-U", "-r", "-p", "-f"}},
	} {
		for _, call := range [][]string{curl, api} {
			r := l.Run(from.who, append(append([]string{}, from.words...), call...)...)
			if r.Code != 0 || !strings.Contains(r.Out, "container") || !strings.Contains(r.Out, "refused") || strings.Contains(r.Out, "web") {
				t.Errorf("%s: exit code %d: %s %s", name, r.Code, r.Out, r.Err)
			}
		}
	}
	if r := l.Run("alice", curl...); !strings.Contains(r.Out, "/web") {
		t.Errorf("alice herself is refused too: %s", r.Out)
	}
}

func socketsCantGoIntoAContainer(t *testing.T, l *lab.Lab) {
	home, socket := l.Home("alice"), l.GatewaySocket()
	l.OK("alice", "ln", "-s", socket, "link")
	own := filepath.Join(home, "own.sock")
	if err := unix.Mknod(own, unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, l.UID("alice"), -1); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"the gateway's folder": filepath.Dir(socket), "the engine's socket": filepath.Join(l.Root, "run/ds01/engine.sock"),
		"a link to it": filepath.Join(home, "link"), "a socket of her own": own,
	} {
		r := l.Docker("alice", "run", "--rm", "-v", source+":/s", "busybox", "ls", "-l", "/s")
		if r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
			t.Errorf("%s: exit code %d: %s %s", name, r.Code, r.Out, r.Err)
		}
	}
}
