package tenants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/e2e/lab"
)

// perContainer lists the served routes that name a container.
func perContainer() map[admission.Op]admission.Route {
	all := map[admission.Op]admission.Route{}
	for _, r := range admission.Routes() {
		if r.Op != "" && strings.HasPrefix(r.Pattern, "/containers/{id}") {
			all[r.Op] = r
		}
	}
	return all
}

// perExec lists the served routes that name a command in a container.
func perExec() map[admission.Op]admission.Route {
	all := map[admission.Op]admission.Route{}
	for _, r := range admission.Routes() {
		if r.Op != "" && strings.HasPrefix(r.Pattern, "/exec/{id}") {
			all[r.Op] = r
		}
	}
	return all
}

// bodyOf returns a body that a route with one accepts.
func bodyOf(r admission.Route) string {
	switch {
	case !r.Body:
		return ""
	case r.Op == admission.ExecStart:
		return `{"Detach":true}`
	}
	return `{"Cmd":["touch","/tmp/reached"]}`
}

// TestTenants is what people see of one another: the stories share a lab, and
// each leaves it empty.
func TestTenants(t *testing.T) {
	l := start(t, lab.Options{Outside: []string{"otto"}, Admins: []string{"ada"}})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"another person's container is not there":        anotherPersonsContainerIsNotThere,
		"another person's command is not there":          anotherPersonsCommandIsNotThere,
		"stock clients show only one's own":              stockClientsShowOnlyOnesOwn,
		"live events are one's own":                      liveEventsAreOnesOwn,
		"what the engine tells of itself is one's own":   whatTheEngineTellsIsOnesOwn,
		"names are per person":                           namesArePerPerson,
		"a container without a name gets one":            aContainerWithoutANameGetsOne,
		"people in no group are refused":                 peopleInNoGroupAreRefused,
		"who is put out of the group is refused at once": whoIsPutOutIsRefusedAtOnce,
		"administrators see and reach everything":        administratorsSeeAndReachEverything,
		"who is over a limit hears which and whence":     whoIsOverALimitHearsWhichAndWhence,
		"processes inside containers are refused":        processesInsideContainersAreRefused,
		"sockets of the host can't go into a container":  socketsCantGoIntoAContainer,
	} {
		t.Run(name, func(t *testing.T) {
			defer l.ClearAll()
			story(t, l)
		})
	}
}

// anotherPersonsContainerIsNotThere asks about alice's container as bob on
// every served route, by every way to write it. The answer is the one for a
// container that doesn't exist, to the letter.
func anotherPersonsContainerIsNotThere(t *testing.T, l *lab.Lab) {
	id := l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	unknown := strings.Repeat("0123456789abcdef", 4)
	references := map[string]string{
		"name": "web", "full id": id, "short id": id[:12], "prefix": id[:5], "engine's name": fmt.Sprintf("web._.%d", l.UID("alice")),
	}
	for op, route := range perContainer() {
		_, control := l.Ask("bob", route.Method, strings.Replace(route.Pattern, "{id}", unknown, 1), bodyOf(route))
		for kind, reference := range references {
			t.Run(string(op)+" by "+kind, func(t *testing.T) {
				status, answer := l.Ask("bob", route.Method, strings.Replace(route.Pattern, "{id}", reference, 1), bodyOf(route))
				if status != 404 {
					t.Errorf("status %d, want 404: %s", status, answer)
				}
				if answer != strings.ReplaceAll(control, unknown, reference) {
					t.Errorf("it answers %s\nand for one that isn't there %s", answer, control)
				}
			})
		}
	}
	if got := l.OK("alice", "docker", "inspect", "-f", "{{.State.Running}} {{.RestartCount}} {{.State.Pid}}", "web"); !strings.HasPrefix(got, "true 0 ") {
		t.Errorf("alice's container is touched: %s", got)
	}
	if r := l.Docker("alice", "exec", "web", "ls", "/tmp/reached"); r.Code == 0 {
		t.Error("bob's command ran in alice's container")
	}
}

func anotherPersonsCommandIsNotThere(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	_, answer := l.Ask("alice", "POST", "/containers/web/exec", `{"Cmd":["touch","/tmp/reached"]}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &made); err != nil || made.ID == "" {
		t.Fatalf("no exec: %v: %s", err, answer)
	}
	for op, route := range perExec() {
		status, answer := l.Ask("bob", route.Method, strings.Replace(route.Pattern, "{id}", made.ID, 1), bodyOf(route))
		if status != 404 {
			t.Errorf("%s: status %d, want 404: %s", op, status, answer)
		}
	}
	if r := l.Docker("alice", "exec", "web", "ls", "/tmp/reached"); r.Code == 0 {
		t.Error("bob started alice's command")
	}
	if status, answer := l.Ask("alice", "POST", "/exec/"+made.ID+"/start", `{"Detach":true}`); status != 200 {
		t.Fatalf("alice can't start it either: %d %s", status, answer)
	}
	l.Eventually("alice's command has run", 30*time.Second, func() bool {
		return l.Docker("alice", "exec", "web", "ls", "/tmp/reached").Code == 0
	})
}

func stockClientsShowOnlyOnesOwn(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		since := l.OK("root", "date", "+%s.%N")
		hers := l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
		his := l.OK("bob", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
		if got := l.OK("bob", docker, "ps", "-aq", "--no-trunc"); got != his {
			t.Errorf("bob sees %s, want only %s", got, his)
		}
		if got := l.OK("bob", docker, "ps", "-aq", "--no-trunc", "--filter", "id="+hers); got != "" {
			t.Errorf("bob filters out %s", got)
		}
		if r := l.Run("bob", docker, "ps", "-a", "--filter", "since="+hers); r.Code == 0 {
			t.Errorf("bob's list is ordered by alice's container: %s", r.Out)
		}
		if got := l.OK("bob", docker, "info", "-f", "{{.Containers}} {{.ContainersRunning}}"); got != "1 1" {
			t.Errorf("info counts %s of bob's, want 1 1", got)
		}
		until := l.OK("root", "date", "+%s.%N")
		events := l.OK("bob", docker, "events", "--since", since, "--until", until)
		lab.Contains(t, events, his)
		lab.Lacks(t, events, hers, l.Login("alice"), "._.")
		for _, words := range [][]string{
			{"inspect", hers},
			{"logs", hers},
			{"exec", hers, "true"},
			{"stop", hers},
			{"kill", hers},
			{"rm", hers},
			{"start", hers},
			{"attach", hers},
			{"top", hers},
			{"wait", hers},
			{"restart", hers},
			{"stats", "--no-stream", hers},
		} {
			r := l.Run("bob", append([]string{docker}, words...)...)
			if r.Code == 0 || !strings.Contains(r.Err, "No such") {
				t.Errorf("docker %s: exit code %d: %s", words[0], r.Code, r.Err)
			}
		}
		if got := l.OK("alice", docker, "ps", "-q", "--no-trunc"); got != hers {
			t.Errorf("alice's container runs no longer: %s", got)
		}
		l.OK("alice", docker, "rm", "-f", "web")
		l.OK("bob", docker, "rm", "-f", "web")
	})
}

func namesArePerPerson(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		for _, who := range []string{"alice", "bob"} {
			id := l.OK(who, docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
			other := l.OK(who, docker, "run", "-d", "--name", "web2", "busybox", "sleep", "1000")
			if got := l.OK(who, docker, "ps", "-q", "--no-trunc", "--filter", "name=^/web$"); got != id {
				t.Errorf("%s's /web is %q, want %s", who, got, id)
			}
			if got := l.OK(who, docker, "inspect", "-f", "{{.Name}} {{.Id}}", "web"); got != "/web "+id {
				t.Errorf("%s inspects %s", who, got)
			}
			if got := l.OK(who, docker, "ps", "--format", "{{.Names}}", "--filter", "id="+id); got != "web" {
				t.Errorf("%s lists %q", who, got)
			}
			r := l.Run(who, docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
			if r.Code == 0 || !strings.Contains(r.Err, "web") {
				t.Errorf("a second web of %s's: exit code %d: %s", who, r.Code, r.Err)
			}
			lab.Lacks(t, r.Err, "._.", l.Login("alice"))
			l.OK(who, docker, "rm", "-f", id, other)
		}
	})
	if status, answer := l.Ask("alice", "POST", "/containers/create?name=a._.b", `{"Image":"busybox"}`); status != 400 {
		t.Errorf("a name that could pose as another person's: %d %s", status, answer)
	}
	l.OK("alice", "docker", "create", "--name", "web", "busybox")
	if status, answer := l.Ask("alice", "POST", "/containers/create?name=web", `{"Image":"busybox"}`); status != 409 {
		t.Errorf("a second web: %d %s", status, answer)
	}
}

func aContainerWithoutANameGetsOne(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		l.OK("alice", docker, "run", "-d", "busybox", "sleep", "1000")
		name := l.OK("alice", docker, "ps", "-l", "--format", "{{.Names}}")
		lab.Lacks(t, name, ".", " ")
		if name == "" {
			t.Fatal("no name is shown")
		}
		l.OK("alice", docker, "rm", "-f", name)
	})
}

// whoIsPutOutIsRefusedAtOnce asks the moment before and the moment after.
func whoIsPutOutIsRefusedAtOnce(t *testing.T, l *lab.Lab) {
	groups := strings.Fields(l.OK("alice", "id", "-Gn"))[1:] // the first is her own
	for _, c := range []struct {
		groups []string
		status int
	}{{groups, 200}, {nil, 403}, {groups, 200}} {
		lab.Must(t, scratchuser.SetGroups(context.Background(), l.Login("alice"), c.groups...))
		for range 2 {
			if status, answer := l.Ask("alice", "GET", "/containers/json", ""); status != c.status {
				t.Errorf("in %q: %d %s", c.groups, status, answer)
			}
		}
	}
}
