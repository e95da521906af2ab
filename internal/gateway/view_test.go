package gateway_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
)

const stranger = "5555555555555555555555555555555555555555555555555555555555555555"

// row is one row of the engine's list.
func row(id, name, extra string) string {
	return fmt.Sprintf(`{"Id":%q,"Names":["/%s"],"Image":"sha256:b","Labels":{"x":"y"},"Mounts":[%s],"New":{"kept":[1,2]}}`, id, name, extra)
}

// twoPeople have a container web each, and there is one that nobody knows.
func twoPeople(t *testing.T) (l *lab, hers, his string) {
	t.Helper()
	l = newLab(t)
	hers, his = l.create(t, alice), l.create(t, bob)
	mount := fmt.Sprintf(`{"Type":"bind","Source":%q,"Destination":"/w"},{"Source":"/other"}`, l.recordOf(t, hers).Mounts[0].HostPath)
	l.engine.answers["GET /containers/json"] = "[" + row(hers, "web._.71001", mount) + "," + row(his, "web._.71002", "") + "," + row(stranger, "old", "") + "]"
	return l, hers, his
}

type listed struct {
	ID     string `json:"Id"`
	Names  []string
	Image  string
	Mounts []struct{ Source, Destination string }
	New    struct{ Kept []int }
}

func TestAListShowsOnesOwnInOnesOwnWords(t *testing.T) {
	l, hers, his := twoPeople(t)
	got := decode[[]listed](t, l.ask(t, alice, "GET", "/v1.41/containers/json?all=1", ""))
	want := []listed{{ID: hers, Names: []string{"/web"}, Image: "busybox"}}
	want[0].Mounts = []struct{ Source, Destination string }{{"/home/x/w", "/w"}, {"/other", ""}}
	want[0].New.Kept = []int{1, 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var ids []string
	for _, c := range decode[[]listed](t, l.ask(t, admin, "GET", "/v1.41/containers/json", "")) {
		ids = append(ids, c.ID+c.Names[0])
	}
	if diff := cmp.Diff([]string{hers + "/web._.71001", his + "/web._.71002", stranger + "/old"}, ids); diff != "" {
		t.Error(diff)
	}
	if got := l.ask(t, alice, "GET", "/v1.41/containers/json?limit=1", ""); !strings.Contains(l.engine.last(), "all=1") || len(decode[[]listed](t, got)) != 1 {
		t.Errorf("asked %s", l.engine.last())
	}
}

func TestAListTellsOfWhatTheEngineHasNotChanged(t *testing.T) {
	l, hers, _ := twoPeople(t)
	for _, name := range []string{"web", "shop"} {
		if err := l.ledger.Update(t.Context(), l.recordOf(t, hers).ID, func(r *container.Record) { r.Name = name }); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := decode[[]listed](t, l.ask(t, alice, "GET", "/v1.41/containers/json", "")); len(got) != 1 || got[0].Names[0] != "/"+name {
				t.Errorf("got %+v", got)
			}
		}
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	l := newLab(t)
	l.engine.answers["GET /containers/json"] = "[]"
	if a := l.ask(t, alice, "GET", "/v1.41/containers/json", ""); strings.TrimSpace(a.body) != "[]" {
		t.Errorf("got %s", a.body)
	}
	l.engine.answers["GET /containers/json"] = `[{"Id":"x","Na`
	wantRefusal(t, l.ask(t, admin, "GET", "/v1.41/containers/json", ""), 500, "")
}

// Clients send filters as a set and, older ones, as a list.
func TestFilters(t *testing.T) {
	l, hers, his := twoPeople(t)
	for filters, want := range map[string]struct {
		status, rows int
		asked        string // in the query to the engine
	}{
		`{"status":{"running":true}}`:           {200, 1, `"status":{"running":true}`},
		`{"status":["running"]}`:                {200, 1, `"status":{"running":true}`},
		`{"name":["^/?web$"]}`:                  {200, 1, ""},
		`{"name":{"we":true}}`:                  {200, 1, ""},
		`{"name":["api"]}`:                      {200, 0, ""},
		`{"name":["71001"]}`:                    {200, 0, ""},
		`{"id":["` + hers[:8] + `"]}`:           {200, 1, hers},
		`{"since":["web"]}`:                     {200, 1, `"since":{"` + hers + `":true}`},
		`{"before":["` + his + `"]}`:            {404, 0, ""},
		`{"before":["web._.71002"]}`:            {404, 0, ""},
		`{"label":["aime.mlc.DS01_UID=71002"]}`: {200, 1, "71002"},
		`{}`:                                    {200, 1, hers},
		`{"owner":["bob"]}`:                     {400, 0, ""},
		`{"name":["("]}`:                        {400, 0, ""},
		`{"name":"web"}`:                        {400, 0, ""},
		`{"name":[1]}`:                          {400, 0, ""},
		`[]`:                                    {400, 0, ""},
		`{`:                                     {400, 0, ""},
		`{"status":{"running":"yes"}}`:          {400, 0, ""},
		`{"status":null}`:                       {200, 1, ""},
	} {
		t.Run(filters, func(t *testing.T) {
			a := l.ask(t, alice, "GET", "/v1.41/containers/json?filters="+url.QueryEscape(filters), "")
			if want.status != 200 {
				if a.status != want.status {
					t.Errorf("got %d %s", a.status, a.body)
				}
				return
			}
			if rows := decode[[]listed](t, a); len(rows) != want.rows {
				t.Errorf("rows are %+v", rows)
			}
			query, err := url.QueryUnescape(l.engine.last())
			if err != nil || !strings.Contains(query, want.asked) || strings.Contains(query, his) {
				t.Errorf("asked %s, %v", query, err)
			}
		})
	}
}

func TestInspectShowsTheOwnersWords(t *testing.T) {
	l, hers, _ := twoPeople(t)
	host := l.recordOf(t, hers).Mounts[0].HostPath
	l.engine.answers["GET /containers/"+hers+"/json"] = fmt.Sprintf(`{"Id":%q,"Name":"/web._.71001","Future":{"a":[null]},
		"Config":{"Image":"sha256:b","Env":["A=b"]},"HostConfig":{"Memory":5,"Mounts":[{"Type":"bind","Source":%q,"Target":"/w"}]},
		"Mounts":[{"Source":%q,"Destination":"/w"}]}`, hers, host, host)
	a := l.ask(t, alice, "GET", "/v1.41/containers/web/json?size=1", "")
	doc := decode[map[string]any](t, a)
	if doc["Name"] != "/web" || doc["Config"].(map[string]any)["Image"] != "busybox" || strings.Contains(a.body, host) ||
		!strings.Contains(a.body, `"Source":"/home/x/w"`) || !strings.Contains(a.body, `"Memory":5`) || !strings.Contains(a.body, `"Future":{"a":[null]}`) {
		t.Errorf("got %s", a.body)
	}
	if l.engine.last() != "GET /v1.41/containers/"+hers+"/json" {
		t.Errorf("asked %s", l.engine.last())
	}
	if doc := decode[map[string]any](t, l.ask(t, admin, "GET", "/v1.41/containers/web._.71001/json", "")); doc["Name"] != "/web._.71001" {
		t.Errorf("an administrator sees %v", doc["Name"])
	}
}

func event(id, action, name string) string {
	return fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{"name":%q,"image":"busybox"}},"time":1}`, action, id, name) + "\n"
}

func TestEventsAreOnesOwnInOnesOwnNames(t *testing.T) {
	l, hers, his := twoPeople(t)
	l.engine.answers["GET /events"] = event(his, "start", "web._.71002") + event(hers, "start", "web._.71001") +
		event(stranger, "die", "old") + event(hers, "exec_start: sh", "web._.71001")
	a := l.ask(t, alice, "GET", "/v1.41/events?since=5", "")
	if want := event(hers, "start", "web") + event(hers, "exec_start: sh", "web"); a.body != want {
		t.Errorf("got %s", a.body)
	}
	query, err := url.QueryUnescape(l.engine.last())
	if err != nil || !strings.Contains(query, `"type":{"container":true,"image":true,"network":true,"volume":true}`) || !strings.Contains(query, "since=5") {
		t.Errorf("asked %s, %v", query, err)
	}
	if a := l.ask(t, admin, "GET", "/v1.41/events", ""); strings.Count(a.body, "\n") != 4 {
		t.Errorf("an administrator sees %s", a.body)
	}
	if a := l.ask(t, alice, "GET", "/v1.41/events?filters="+url.QueryEscape(`{"container":["`+his+`"]}`), ""); a.status != 404 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := l.ask(t, alice, "GET", "/v1.41/events?filters="+url.QueryEscape(`{"daemon":["x"]}`), ""); a.status != 400 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestImagesOfOthersAreHidden(t *testing.T) {
	l := newLab(t)
	l.engine.answers["GET /images/json"] = `[{"Id":"1","RepoTags":["busybox:latest","ds01-71002/b:1"],"RepoDigests":["busybox@sha256:1"]},
		{"Id":"2","RepoTags":["ds01-71002/secret:1"],"RepoDigests":null},{"Id":"3","RepoTags":["ds01-71001/mine:1"],"RepoDigests":[]},
		{"Id":"4","RepoTags":["<none>:<none>"],"RepoDigests":[]},{"Id":"5","RepoTags":null,"RepoDigests":null}]`
	type image struct {
		ID       string `json:"Id"`
		RepoTags []string
	}
	got := decode[[]image](t, l.ask(t, alice, "GET", "/v1.41/images/json", ""))
	if diff := cmp.Diff([]image{{"1", []string{"busybox:latest"}}, {"3", []string{"mine:1"}}}, got); diff != "" {
		t.Error(diff)
	}
	if got := decode[[]image](t, l.ask(t, admin, "GET", "/v1.41/images/json", "")); len(got) != 5 {
		t.Errorf("an administrator sees %+v", got)
	}
}

func TestAnImageOfAnotherIsNotThere(t *testing.T) {
	l := newLab(t)
	busybox, err := l.engine.Image(t.Context(), "busybox")
	if err != nil {
		t.Fatal(err)
	}
	l.engine.answers["GET /images/"+busybox.ID+"/json"] = `{"Id":"1","RepoTags":["busybox:latest","ds01-71002/b:1"],"RepoDigests":[],"Size":5}`
	if a := l.ask(t, alice, "GET", "/v1.41/images/busybox/json", ""); a.status != 200 || strings.Contains(a.body, "71002") || !strings.Contains(a.body, `"Size":5`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/images/none/json", ""), 404, "No such image")
	secret := busybox
	secret.ID, secret.Names = "sha256:5", []string{"ds01-71002/secret:1"}
	l.engine.AddImage(secret)
	for _, reference := range []string{"ds01-71002/secret:1", "sha256:5"} {
		wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/images/"+reference+"/json", ""), 404, "No such image")
	}
}

func TestInfoCountsOnesOwnAndTellsNothingOfOthers(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	stopped, paused := l.createAs(t, alice, "stopped"), l.createAs(t, alice, "paused")
	l.answer("/containers/json", `[{"Id":%q,"State":"running"},{"Id":%q,"State":"running"},{"Id":%q,"State":"exited"},{"Id":%q,"State":"paused"},{"Id":%q,"State":"running"}]`,
		his, hers, stopped, paused, stranger)
	l.engine.AddImage(container.Image{ID: "sha256:5", Names: []string{fmt.Sprintf("ds01-%d/mine:1", alice)}})
	l.engine.AddImage(container.Image{ID: "sha256:6", Names: []string{fmt.Sprintf("ds01-%d/secret:1", bob)}})
	fields := []string{`"Future":{"who":"bob"}`, `"DriverStatus":[["Backing Filesystem","extfs"],["Data Space Used","7GB"],[]]`, `"Runtimes":{"kata":{"path":"/opt/kata"}}`}
	for _, f := range admission.InfoFields() {
		if f.How != admission.InfoReduced {
			fields = append(fields, fmt.Sprintf("%q:9", f.Name))
		}
	}
	l.answer("/info", "{%s}", strings.Join(fields, ","))
	here := l.devices
	l.devices = nil
	want := map[string]any{
		"Containers": 3.0, "ContainersRunning": 1.0, "ContainersPaused": 1.0, "ContainersStopped": 1.0, "Images": 2.0, // hers, and busybox
		"DriverStatus": []any{[]any{"Backing Filesystem", "extfs"}},
		"Runtimes":     map[string]any{"runc": map[string]any{"path": "runc"}},
	}
	for _, f := range admission.InfoFields() {
		if f.How == admission.InfoPasses {
			want[f.Name] = 9.0
		}
	}
	got := decode[map[string]any](t, l.ask(t, alice, "GET", "/v1.41/info", ""))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	l.devices = here
	got = decode[map[string]any](t, l.ask(t, alice, "GET", "/v1.41/info", ""))
	if runtimes, _ := got["Runtimes"].(map[string]any); len(runtimes) != 2 || runtimes["nvidia"] == nil {
		t.Errorf("where she may have a GPU she can't name %v", got["Runtimes"])
	}
	if got := decode[map[string]any](t, l.ask(t, admin, "GET", "/v1.41/info", "")); got["Containers"] != 9.0 || got["Future"] == nil {
		t.Errorf("an administrator sees %v", got)
	}
}
