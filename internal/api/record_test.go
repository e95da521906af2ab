package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// An auditLog is one in memory, which may be full.
type auditLog struct {
	mu     sync.Mutex
	events []event.Event
	full   bool
}

func (a *auditLog) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready()
}

func (a *auditLog) ready() error {
	if a.full {
		return &problem.Error{What: "Nothing was changed", Why: problem.Because(problem.ErrUnavailable, "the audit log can't be written")}
	}
	return nil
}

func (a *auditLog) Append(e event.Event) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
	return uint64(len(a.events)), a.ready()
}

func (a *auditLog) Select(since time.Time, limit int, match func(event.Event) bool) ([]event.Event, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(a.events), func(e event.Event) bool { return e.Time.Before(since) || !match(e) })
	return found[max(0, len(found)-limit):], nil
}

// take returns what was written since the last time, "decision action object
// owner" each.
func (a *auditLog) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var said []string
	for _, e := range a.events {
		said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", e.Decision, e.User, e.Action, e.Object, e.Owner)))
	}
	a.events = nil
	return strings.Join(said, "; ")
}

func TestWhatChangesAndWhatIsRefusedIsWrittenDown(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	l.log.take()
	for name, c := range map[string]struct {
		who                  int
		method, target, body string
		want                 string
	}{
		"a list":                           {alice, "GET", "/v1/containers", "", ""},
		"a look at what isn't there":       {alice, "GET", "/v1/containers/none", "", ""},
		"a preview of limits":              {admin, "POST", "/v1/limits/diff", `{"text":"defaults: {}"}`, ""},
		"a start":                          {alice, "POST", "/v1/containers/web/start", "", "allowed alice container start web"},
		"a start for somebody":             {admin, "POST", "/v1/containers/web/start?user=alice", "", "allowed root2 container start web alice"},
		"a container over the limit":       {alice, "POST", "/v1/containers", `{"name":"b","gpus":9}`, "denied alice container create b"},
		"a container that isn't there":     {alice, "DELETE", "/v1/containers/none", "", "denied alice container remove none"},
		"somebody else's container":        {bob, "GET", "/v1/containers/web._.71001", "", "denied bob GET /v1/containers/{name} web alice"},
		"somebody else's, to be removed":   {bob, "DELETE", "/v1/containers/web._.71001", "", "denied bob container remove web alice"},
		"acting for somebody":              {bob, "GET", "/v1/me?user=alice", "", "denied bob GET /v1/me"},
		"the audit log itself":             {bob, "GET", "/v1/audit", "", "denied bob GET /v1/audit"},
		"somebody in no group":             {outside, "GET", "/v1/containers", "", "denied mallory GET /v1/containers"},
		"a simulated reading":              {admin, "POST", "/v1/gpus/GPU-0/sim", "{}", "allowed root2 gpu sim set GPU-0"},
		"a drain":                          {admin, "POST", "/v1/gpus/0/drain", `{"reason":"a fan"}`, "allowed root2 gpu drain 0"},
		"a drain by who may not":           {alice, "POST", "/v1/gpus/0/drain", "{}", "denied alice gpu drain 0"},
		"an adoption that comes to nought": {admin, "POST", "/v1/containers/none/adopt", `{"user":"bob"}`, "denied root2 container adopt none"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = l.ask(t, c.who, c.method, c.target, c.body, nil)
			if got := l.log.take(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if name == "a drain" { // what is drained isn't started on, and the rows come in any order
				l.must(t, admin, "DELETE", "/v1/gpus/0/drain", "", nil)
				l.log.take()
			}
		})
	}
}

func TestACreateIsWrittenWithWhatItIs(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	e := l.log.events[0]
	if e.Image != "busybox" || e.GPUs != "1" || !slices.Equal(e.Devices, []string{"0"}) || e.Claim != l.ledger.Records()[0].ID ||
		!slices.Equal(e.Mounts, []string{"/home/alice/web"}) || e.Exe == "" || e.PID == 0 || e.Door != event.API || e.Route != "POST /v1/containers" {
		t.Errorf("%+v", e)
	}
}

func TestNothingIsChangedWithoutAnAuditLog(t *testing.T) {
	l := newLab(t)
	l.must(t, alice, "POST", "/v1/containers", web, nil)
	l.log.full = true
	for _, r := range [][2]string{{"POST", ""}, {"POST", "/web/start"}, {"POST", "/web/stop"}, {"DELETE", "/web"}} {
		wantKind(t, l.ask(t, alice, r[0], "/v1/containers"+r[1], "", nil), problem.ErrUnavailable)
	}
	var list []apitype.Container
	if l.must(t, alice, "GET", "/v1/containers", "", &list); len(list) != 1 || list[0].State != "created" {
		t.Errorf("%+v", list)
	}
}

func TestAdministratorsReadTheAuditLog(t *testing.T) {
	l := newLab(t)
	_ = l.ask(t, alice, "DELETE", "/v1/containers/none", "", nil)
	l.must(t, bob, "POST", "/v1/containers", `{"name":"web"}`, nil)
	l.must(t, admin, "POST", "/v1/containers/web/start?user=bob", "", nil)
	for query, want := range map[string]string{
		"": "alice bob root2", "?of=bob": "bob root2", "?denied=true": "alice", "?limit=1": "root2", "?of=nobody": "",
		"?since=2999-01-01T00:00:00Z": "", "?since=2000-01-01T00:00:00Z": "alice bob root2",
	} {
		var events []event.Event
		l.must(t, admin, "GET", "/v1/audit"+query, "", &events)
		var users []string
		for _, e := range events {
			users = append(users, e.User)
		}
		if got := strings.Join(users, " "); got != want || events == nil {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?since=yesterday", "?limit=0", "?limit=x", "?limit=1000000"} {
		wantKind(t, l.ask(t, admin, "GET", "/v1/audit"+query, "", nil), problem.ErrInvalid)
	}
}
