package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/gateway"
)

func TestEachOperationOfTheTableIsServed(t *testing.T) {
	g := gateway.New(gateway.Parts{})
	for _, r := range admission.Routes() {
		if g.Serves(r.Op) != (r.Op != "") {
			t.Errorf("%s %s has a route and no code", r.Method, r.Pattern)
		}
	}
	if g.Serves("container checkpoint") {
		t.Error("what has no route is served")
	}
}

func TestWhoMayNotIsTurnedAway(t *testing.T) {
	l := newLab(t)
	wantRefusal(t, l.ask(t, outside, "GET", "/v1.41/containers/json", ""), 403, "isn't in the group")
	wantRefusal(t, l.ask(t, 0, "GET", "/_ping", ""), 403, "has no account")
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/plugins", ""), 403, "run on the host as root")
	wantRefusal(t, l.ask(t, admin, "POST", "/v1.41/swarm/init", "{}"), 403, "no swarm")
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.42/_ping", ""), 400, "Maximum supported API version is 1.41")
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/json?all=1&all=0", ""), 400, "twice")
	if len(l.engine.requests) > 0 {
		t.Errorf("the engine was asked %v", l.engine.requests)
	}
}

func TestAPingIsAnsweredForAnEngineThatIsUp(t *testing.T) {
	l := newLab(t)
	for method, body := range map[string]string{"GET": "OK", "HEAD": ""} {
		got := l.ask(t, alice, method, "/_ping", "")
		if got.status != 200 || got.body != body || got.header.Get("Api-Version") != "1.41" || got.header.Get("Ostype") != "linux" {
			t.Errorf("%s: %+v", method, got)
		}
	}
	if len(l.engine.requests) > 0 {
		t.Errorf("the engine was asked %v", l.engine.requests)
	}
	l.down = true
	l.engine.answers["GET /_ping"] = `503!{"message":"no"}`
	if got := l.ask(t, alice, "GET", "/_ping", ""); got.status != 503 || l.engine.last() != "GET /v1.41/_ping" {
		t.Errorf("%d after %s", got.status, l.engine.last())
	}
}

func TestRequestsThatCouldBeReadInTwoWaysAreRefused(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"a form":                     {"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}", 400},
		"a form of parts":            {"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 2\r\n\r\n{}", 400},
		"a host in the request line": {"GET http://evil/info HTTP/1.1\r\nHost: d\r\n\r\n", 400},
		"two slashes":                {"GET //evil/info HTTP/1.1\r\nHost: d\r\n\r\n", 400},
		"an upgrade to h2c":          {"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", 400},
		"an encoded path":            {"POST /v1.41%2fcontainers%2fcreate HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}", 400},
		"dots":                       {"GET /v1.41/x/../info HTTP/1.1\r\nHost: d\r\n\r\n", 400},
		"two lengths":                {"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
		"a body that is too large":   {fmt.Sprintf("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n%s", 1<<20+2, strings.Repeat(" ", 1<<20+2)), 400},
		"no body":                    {"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if got := l.raw(t, alice, c.request); got != c.status {
				t.Errorf("status %d", got)
			}
		})
	}
	if len(l.engine.requests) > 0 {
		t.Errorf("the engine was asked %v", l.engine.requests)
	}
}

func TestNamesAreOnesOwn(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	if hers == his {
		t.Fatal("one container for two people")
	}
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/create?name=web", `{"Image":"busybox"}`), 409, "you have a container of that name")
	for reference, id := range map[string]string{"web": hers, hers: hers, "web._.71001": hers} {
		l.ask(t, alice, "POST", "/v1.41/containers/"+reference+"/kill", "")
		if want := "POST /v1.41/containers/" + id + "/kill"; l.engine.last() != want {
			t.Errorf("%s: asked %s", reference, l.engine.last())
		}
	}
	before := l.engine.last()
	for _, reference := range []string{his, his[:12], his[:len(his)-1] + "f", "web._.71002", "unknown"} {
		for _, path := range []string{"/json", "/logs", "/stats", "/top"} {
			wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/"+reference+path, ""), 404, "No such container")
		}
		for _, path := range []string{"/kill", "/stop", "/start", "/restart", "/wait", "/resize?h=1&w=1", "/attach?stream=1"} {
			wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/"+reference+path, ""), 404, "No such container")
		}
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/"+reference+"/exec", `{"Cmd":["sh"]}`), 404, "No such container")
		wantRefusal(t, l.ask(t, alice, "DELETE", "/v1.41/containers/"+reference+"?force=1", ""), 404, "No such container")
	}
	if l.engine.last() != before {
		t.Errorf("the engine was asked %s", l.engine.last())
	}
	l.ask(t, admin, "POST", "/v1.41/containers/web._.71002/kill", "")
	if want := "POST /v1.41/containers/" + his + "/kill"; l.engine.last() != want {
		t.Errorf("an administrator: asked %s", l.engine.last())
	}
}

func TestCreate(t *testing.T) {
	l := newLab(t)
	for body, want := range map[string]struct {
		status int
		says   string
	}{
		`{"Image":"busybox","HostConfig":{"Privileged":true}}`:   {403, "HostConfig.Privileged can't be set"},
		`{"Image":"busybox","HostConfig":{"Memory":2147483648}}`: {429, "--memory 2GiB is over your limit of 1GiB"},
		`{"Image":"none"}`:                    {404, "No such image: none"},
		`{"Image":"busybox","hostconfig":{}}`: {400, "hostconfig"},
		`{"Image":"busybox","HostConfig":{"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]}}`: {429, "2>1"},
	} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/create?name=x", body), want.status, want.says)
	}
	for _, name := range []string{"-x", "a._.b", "a%2Fb", strings.Repeat("x", 200)} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/create?name="+name, `{"Image":"busybox"}`), 400, "a name has letters")
	}
	const gpu = `{"Image":"busybox","HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`
	if a := l.ask(t, alice, "POST", "/v1.41/containers/create", gpu); a.status != 201 || a.header.Get("Api-Version") != "1.41" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	records := l.ledger.Records()
	if len(records) != 1 || records[0].Name == "" || records[0].UID != alice || records[0].Interface != "api" {
		t.Errorf("records are %+v", records)
	}
	wantRefusal(t, l.ask(t, bob, "POST", "/v1.41/containers/create", gpu), 503, "free now: 0")
	if len(l.ledger.Records()) != 1 {
		t.Errorf("a refusal left %+v", l.ledger.Records())
	}
}

func TestStartStopAndRestart(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/web/start", `{"Privileged":true}`), 400, "a start takes no configuration")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/web/start?checkpoint=x", ""), 403, "checkpoint")
	if a := l.ask(t, alice, "POST", "/v1.41/containers/web/start", ""); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if o, err := l.engine.Inspect(t.Context(), id); err != nil || !o.Running() {
		t.Errorf("%+v, %v", o, err)
	}
	for asked, sent := range map[string]string{"": "", "?t=3": "?t=3", "?t=9999": "?t=10", "?t=-1": "?t=10", "?t=0": "?t=0", "?t=5&signal=INT": "?signal=INT&t=5"} {
		l.ask(t, alice, "POST", "/v1.41/containers/web/stop"+asked, "")
		if want := "POST /v1.41/containers/" + id + "/stop" + sent; l.engine.last() != want {
			t.Errorf("%q: asked %s", asked, l.engine.last())
		}
	}
	if !slices.Contains(l.observe, id) {
		t.Error("the record isn't in step after a stop")
	}
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/web/stop?t=soon", ""), 400, "no number of seconds")
	if a := l.ask(t, alice, "POST", "/v1.41/containers/web/restart?t=1", ""); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestErrorsOfTheEngineAreInOnesOwnNames(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	l.engine.answers["DELETE /containers/"+id] = `409!{"message":"You cannot remove a running container web._.71001"}`
	a := l.ask(t, alice, "DELETE", "/v1.41/containers/web", "")
	if a.status != 409 || a.body != `{"message":"You cannot remove a running container web"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestExec(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	l.engine.answers["POST /containers/"+hers+"/exec"] = `{"Id":"e1"}`
	l.engine.answers["GET /exec/e1/json"] = fmt.Sprintf(`{"ID":"e1","ContainerID":%q,"Running":true}`, hers)
	l.engine.answers["GET /exec/e2/json"] = fmt.Sprintf(`{"ID":"e2","ContainerID":%q}`, his)
	l.engine.answers["GET /exec/e3/json"] = `404!{"message":"No such exec"}`
	a := l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["sh"],"Env":["NVIDIA_VISIBLE_DEVICES=all","A=b"],"Privileged":false}`)
	if a.status != 201 || a.body != `{"Id":"e1"}` || l.engine.bodies[len(l.engine.bodies)-1] != `{"Env":["A=b"],"Cmd":["sh"]}` {
		t.Errorf("%d %s, sent %s", a.status, a.body, l.engine.bodies[len(l.engine.bodies)-1])
	}
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/web/exec", `{"Cmd":["sh"],"Privileged":true}`), 403, "root on the host")
	if doc := decode[map[string]any](t, l.ask(t, alice, "GET", "/v1.41/exec/e1/json", "")); doc["ID"] != "e1" {
		t.Errorf("got %v", doc)
	}
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/json", ""}, {"POST", "/resize?h=1&w=1", ""}, {"POST", "/start", `{"Detach":true}`},
	} {
		wantRefusal(t, l.ask(t, alice, r.method, "/v1.41/exec/e2"+r.path, r.body), 404, "No such exec instance")
		if a := l.ask(t, alice, r.method, "/v1.41/exec/e3"+r.path, r.body); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/exec/e1/start", `{"Detach":true,"Detach":false}`), 400, "")
	for _, r := range l.engine.requests {
		if strings.Contains(r, "e2/start") || strings.Contains(r, "e2/resize") {
			t.Errorf("the engine was asked %s", r)
		}
	}
}

func TestTop(t *testing.T) {
	l := newLab(t)
	id := l.create(t, alice)
	l.ask(t, alice, "GET", "/v1.41/containers/web/top?ps_args=-o%20pid", "")
	if want := "GET /v1.41/containers/" + id + "/top?ps_args=-o+pid"; l.engine.last() != want {
		t.Errorf("asked %s", l.engine.last())
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/web/top?ps_args=-F%20/etc/shadow", ""), 403, "ps arguments")
}

func TestOnlyTheRegistryLoginOfTheClientsHeadersGoesOn(t *testing.T) {
	l := newLab(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker/v1.41/images/create?fromImage=busybox&tag=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Registry-Auth", "secret")
	r.Header.Set("X-Registry-Config", "config")
	r.Header.Set("X-HTTP-Method-Override", "DELETE")
	l.send(t, alice, r)
	header := l.engine.headers[0]
	if l.engine.last() != "POST /v1.41/images/create?fromImage=busybox&tag=1" || header.Get("X-Registry-Auth") != "secret" || len(header) != 1 {
		t.Errorf("asked %s with %v", l.engine.last(), header)
	}
	for _, name := range []string{"ds01-71002/x", "docker.io/ds01-71002/x", "index.docker.io/ds01-71002/x:latest"} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/create?fromImage="+name, ""), 403, "people's own images")
	}
	for _, query := range []string{"tag=x", "fromSrc=http://169.254.169.254/", "fromSrc=-&fromImage=busybox", "fromSrc=/etc/passwd"} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/create?"+query, ""), 403, "fetches nothing from addresses")
	}
}
