package api_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/api"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func TestEachRouteSaysWhoMayUseIt(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range api.Routes() {
		if r.Access == 0 || r.Handle == nil || !strings.HasPrefix(r.Path, "/v1/") {
			t.Errorf("%s %s is open to nobody, or does nothing", r.Method, r.Path)
		}
		if seen[r.Method+r.Path] {
			t.Errorf("%s %s is there twice", r.Method, r.Path)
		}
		seen[r.Method+r.Path] = true
	}
}

// TestAccess tries every route as everybody. A route that isn't in this table
// fails: say who may use it.
func TestAccess(t *testing.T) {
	type who struct{ stranger, outsider, user, admin bool }
	anybody, users, admins := who{false, true, true, true}, who{false, false, true, true}, who{false, false, false, true}
	want := map[string]who{
		"GET /v1/version": anybody, "GET /v1/me": anybody, "GET /v1/doctor": anybody, "POST /v1/doctor/fix": admins,
		"GET /v1/gpus": users, "GET /v1/gpus/why": users, "GET /v1/gpus/cutting": users, "GET /v1/containers": users, "POST /v1/containers": users, "GET /v1/containers/{name}": users,
		"POST /v1/containers/{name}/start": users, "POST /v1/containers/{name}/stop": users, "DELETE /v1/containers/{name}": users,
		"POST /v1/containers/{name}/update":   users,
		"POST /v1/containers/{name}/gpus/add": users, "POST /v1/containers/{name}/gpus/release": users,
		"POST /v1/containers/{name}/pause": users, "POST /v1/containers/{name}/unpause": users, "POST /v1/containers/{name}/rename": users,
		"GET /v1/stats": users, "GET /v1/limits": users, "GET /v1/dashboard": users, "POST /v1/policy/eval": users,
		"GET /v1/images": users, "DELETE /v1/images": users, "POST /v1/images/share": users, "POST /v1/images/unshare": users,
		"POST /v1/containers/{name}/extend": users, "POST /v1/containers/{name}/keep": users, "DELETE /v1/containers/{name}/keep": users,
		"POST /v1/containers/{name}/protect": admins, "DELETE /v1/containers/{name}/protect": admins,
		"GET /v1/exemptions": admins, "POST /v1/exemptions": admins, "DELETE /v1/exemptions/{user}": admins,
		"GET /v1/mig": admins, "POST /v1/mig/plan": admins, "POST /v1/mig/apply": admins,
		"GET /v1/queue": users, "POST /v1/queue": users, "GET /v1/queue/{id}": users, "DELETE /v1/queue/{id}": users,
		"GET /v1/reservations": users, "POST /v1/reservations": admins, "DELETE /v1/reservations/{id}": admins,
		"POST /v1/gpus/{uuid}/drain": admins, "DELETE /v1/gpus/{uuid}/drain": admins,
		"POST /v1/gpus/{uuid}/sim": admins, "POST /v1/containers/{name}/adopt": admins, "POST /v1/limits/diff": admins, "GET /v1/audit": admins,
	}
	l := newLab(t)
	for _, r := range api.Routes() {
		row, ok := want[r.Method+" "+r.Path]
		if !ok {
			t.Errorf("%s %s: say here who may use it", r.Method, r.Path)
			continue
		}
		target := strings.NewReplacer("{name}", "none", "{uuid}", "GPU-0", "{id}", "none", "{user}", "none").Replace(r.Path)
		for uid, allowed := range map[int]bool{0: row.stranger, outside: row.outsider, alice: row.user, admin: row.admin} {
			err := l.ask(t, uid, r.Method, target, "{}", nil)
			if denied := errors.Is(err, problem.ErrDenied); denied == allowed {
				t.Errorf("%s %s as %d: %v", r.Method, r.Path, uid, err)
			}
		}
		delete(want, r.Method+" "+r.Path)
	}
	for route := range want {
		t.Errorf("%s is no route any more", route)
	}
}

func TestOnlyAdministratorsActForOthersAndSeeEverybody(t *testing.T) {
	l := newLab(t)
	for _, r := range api.Routes() {
		target := strings.NewReplacer("{name}", "none", "{uuid}", "GPU-0", "{id}", "none").Replace(r.Path) + "?user=bob"
		wantKind(t, l.ask(t, alice, r.Method, target, "{}", nil), problem.ErrDenied)
	}
	for _, target := range []string{"/v1/containers?all_users=true", "/v1/images?all_users=true", "/v1/stats?all_users=true", "/v1/limits?all=true"} {
		wantKind(t, l.ask(t, alice, "GET", target, "", nil), problem.ErrDenied)
		l.must(t, admin, "GET", target, "", nil)
	}
	wantKind(t, l.ask(t, admin, "GET", "/v1/containers?user=nobody", "", nil), problem.ErrNotFound)
	var me apitype.Me
	if l.must(t, alice, "GET", "/v1/me?user=alice", "", &me); me.User != "alice" || !me.Docker || me.Admin {
		t.Errorf("got %+v", me)
	}
	if l.must(t, admin, "GET", "/v1/me?user=alice", "", &me); me.User != "alice" || me.Admin {
		t.Errorf("for alice: %+v", me)
	}
}

func TestAPathThatIsNoRoute(t *testing.T) {
	l := newLab(t)
	for _, r := range [][2]string{{"GET", "/"}, {"GET", "/v2/containers"}, {"GET", "/v1/none"}} {
		wantKind(t, l.ask(t, admin, r[0], r[1], "", nil), problem.ErrNotFound)
	}
}
