package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	audited "ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// An auditLog is one in memory, which may be full, or fill up unexpectedly.
type auditLog struct {
	mu     sync.Mutex
	events []audited.Event
	full   bool
	fills  bool
}

func (a *auditLog) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return &problem.Error{What: "Nothing was changed", Why: problem.Because(problem.ErrUnavailable, "the audit log can't be written")}
	}
	return nil
}

func (a *auditLog) Append(e audited.Event) (uint64, error) {
	a.mu.Lock()
	a.full = a.full || a.fills
	a.mu.Unlock()
	if err := a.Ready(); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
	return uint64(len(a.events)), nil
}

// take returns what was written since the last time.
func (a *auditLog) take() []audited.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}

func said(events []audited.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %s", e.Decision, e.User, e.Action, e.Object, e.Owner)), " "))
	}
	return strings.Join(all, "; ")
}

func TestWhatIsWrittenDownOfEachRequest(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	inspect := fmt.Sprintf(`{"ContainerID":"%s"}`, id)
	l.engine.answers["GET /exec/e1/json"] = inspect
	l.engine.answers["POST /containers/"+id+"/exec"] = `{"Id":"e1"}`
	l.engine.answers["POST /containers/"+id+"/kill"] = `409!{"message":"it isn't running"}`
	l.log.take()
	for name, c := range map[string]struct {
		who                  int
		method, target, body string
		want                 string
	}{
		"a list":                     {alice, "GET", "/containers/json", "", ""},
		"a look at one's own":        {alice, "GET", "/containers/web/top", "", ""},
		"a look at nothing":          {alice, "GET", "/containers/none/json", "", ""},
		"a look for a network":       {alice, "GET", "/networks/none", "", ""},
		"a wait":                     {alice, "POST", "/containers/web/wait", "", ""},
		"a resize":                   {alice, "POST", "/containers/web/resize?h=1&w=1", "", ""},
		"a look at somebody else's":  {bob, "GET", "/containers/" + id + "/json", "", "denied bob container inspect web alice"},
		"a wait for somebody else's": {bob, "POST", "/containers/" + id + "/wait", "", "denied bob container wait web alice"},
		"a stop of somebody else's":  {bob, "POST", "/containers/" + id + "/stop", "", "denied bob container stop web alice"},
		"somebody else's exec":       {bob, "POST", "/exec/e1/start", `{}`, "denied bob exec start web alice"},
		"a stop of nothing":          {bob, "POST", "/containers/none/stop", "", "denied bob container stop none"},
		"a stop":                     {alice, "POST", "/containers/web/stop", "", "allowed alice container stop web"},
		"a stop by an administrator": {admin, "POST", "/containers/web._.71001/stop", "", "allowed root2 container stop web alice"},
		"what the engine refuses":    {alice, "POST", "/containers/web/kill", "", "allowed alice container kill web; failed alice container kill web"},
		"a command":                  {alice, "POST", "/containers/web/exec", `{"Cmd":["sh","-c","x"]}`, "allowed alice exec create web"},
		"a privileged command":       {alice, "POST", "/containers/web/exec", `{"Cmd":["sh"],"Privileged":true}`, "denied alice exec create web"},
		"a privileged container":     {alice, "POST", "/containers/create?name=p", `{"Image":"busybox","HostConfig":{"Privileged":true}}`, "denied alice container create p"},
		"a body nobody understands":  {alice, "POST", "/containers/create?name=p", `{"image":"busybox"}`, "denied alice container create p"},
		"a route that isn't served":  {alice, "POST", "/swarm/init", "{}", "denied alice docker api"},
		"a route that doesn't exist": {alice, "GET", "/nothing", "", "denied alice docker api"},
		"a pull with a login in it":  {alice, "POST", "/images/create?fromImage=me:hunter2@reg/x", "", "allowed alice image pull reg/x"},
		"somebody in no group":       {outside, "GET", "/containers/json", "", "denied mallory docker api"},
		"somebody whom nobody knows": {0, "GET", "/containers/json", "", "denied docker api"},
		"a version that is too new":  {alice, "POST", "/v1.99/containers/web/stop", "", "denied alice container stop web"},
		"an import":                  {alice, "POST", "/images/create?fromSrc=http://x", "", "denied alice image pull"},
	} {
		t.Run(name, func(t *testing.T) {
			target := c.target
			if !strings.HasPrefix(target, "/v1.") {
				target = "/v1.41" + target
			}
			l.ask(t, c.who, c.method, target, c.body)
			events := l.log.take()
			if said(events) != c.want {
				t.Errorf("got %q, want %q", said(events), c.want)
			}
			for _, e := range events {
				if e.PID == 0 || e.Exe == "" || e.UID != os.Getuid() || e.Door != audited.Gateway || e.Route == "" || (e.Why == "") != (e.Decision == audited.Allowed) {
					t.Errorf("%+v", e)
				}
				if text, _ := json.Marshal(e); strings.Contains(string(text), "hunter2") {
					t.Errorf("a secret: %s", text)
				}
			}
		})
	}
}

func TestWhatIsWrittenOfAContainerAndACommand(t *testing.T) {
	l := newLab(t)
	l.ask(t, alice, "POST", "/v1.41/containers/create?name=web", `{"Image":"busybox","Env":["TOKEN=hunter2"],"Cmd":["python","--key","hunter2"],
		"Labels":{"key":"hunter2"},"HostConfig":{"Binds":["/home/x/w:/w"],"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`)
	r := l.ledger.Records()[0]
	l.engine.answers["POST /containers/"+r.ContainerID+"/exec"] = `400!{"message":"no such variable: TOKEN=hunter2"}`
	l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["env","A=hunter2"],"Env":["TOKEN=hunter2"]}`)
	l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["env"],"Env":"hunter2"}`)
	l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["env"],"Env":{"TOKEN":"hunter2"}}`)
	l.ask(t, alice, "POST", "/v1.41/containers/create?name=b", `{"Image":"busybox","Env":{"TOKEN":"hunter2"}}`)
	l.ask(t, alice, "POST", "/v1.41/containers/create?name=b", `{"Image":"busybox","Env":["TOKEN=hunter2"],"HostConfig":{"Memory":"hunter2"}}`)
	events := l.log.take()
	if text, _ := json.Marshal(events); strings.Contains(string(text), "hunter2") {
		t.Errorf("a secret: %s", text)
	}
	if len(events) != 7 {
		t.Fatalf("%s", said(events))
	}
	create, exec, failed := events[0], events[1], events[2]
	if create.Image != "busybox" || create.Command != "python" || create.GPUs != "1" || !slices.Equal(create.Devices, []string{"0"}) ||
		!slices.Equal(create.Mounts, []string{"/home/x/w"}) || create.Claim != r.ID {
		t.Errorf("%+v", create)
	}
	if exec.Command != "env" || exec.Container != r.ContainerID || exec.Claim != r.ID {
		t.Errorf("%+v", exec)
	}
	if failed.Decision != audited.Failed || failed.Of != 2 || failed.Status != 400 || !strings.Contains(failed.Why, "no such variable") {
		t.Errorf("%+v", failed)
	}
}

func TestAChangeIsWrittenBeforeTheEngineHearsOfIt(t *testing.T) {
	changes := []struct{ method, target, body string }{
		{"POST", "/containers/create?name=b", `{"Image":"busybox"}`},
		{"POST", "/containers/web/stop", ""},
		{"POST", "/containers/web/kill", ""},
		{"POST", "/containers/web/attach?stream=1", ""},
		{"DELETE", "/containers/web", ""},
		{"POST", "/containers/web/exec", `{"Cmd":["true"]}`},
		{"POST", "/exec/e1/start", `{}`},
		{"POST", "/images/create?fromImage=x", ""},
		{"POST", "/containers/web/start", ""},
		{"POST", "/containers/web/restart", ""},
	}
	for name, fills := range map[string]bool{"it is known to be full": false, "it turns out to be full": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			id := l.create(t, alice)
			l.engine.answers["GET /exec/e1/json"] = fmt.Sprintf(`{"ContainerID":"%s"}`, id)
			for _, r := range changes {
				if fills && strings.HasSuffix(r.target, "start") && strings.HasPrefix(r.target, "/containers") {
					continue // by the launcher, whose engine the daemon wraps
				}
				l.log.full, l.log.fills = !fills, fills
				wantRefusal(t, l.ask(t, alice, r.method, "/v1.41"+r.target, r.body), 503, "audit log")
			}
			for _, asked := range l.engine.requests {
				if !strings.HasPrefix(asked, "GET ") {
					t.Errorf("the engine was asked: %s", asked)
				}
			}
			if all := l.ledger.Records(); len(all) != 1 {
				t.Errorf("left: %+v", all)
			}
			if a := l.ask(t, alice, "GET", "/v1.41/containers/web/top", ""); a.status != 204 {
				t.Errorf("a look: %d %s", a.status, a.body)
			}
			l.log.full, l.log.fills = false, false
			if a := l.ask(t, alice, "POST", "/v1.41/containers/web/stop", ""); a.status != 204 {
				t.Errorf("it goes on: %d %s", a.status, a.body)
			}
		})
	}
}
