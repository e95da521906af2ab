package gateway_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// An entry is one file, directory or link of an archive.
type entry struct {
	name, text, link string
	kind             byte
}

func archive(t *testing.T, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Size: int64(len(e.text)), Typeflag: e.kind, Mode: 0o644}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// entries reads an archive: "name text", "name -> link".
func entries(t *testing.T, text string) (all []string) {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Linkname != "" {
			data = []byte("-> " + h.Linkname)
		}
		all = append(all, strings.TrimSpace(h.Name+" "+string(data)))
	}
}

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

const manifest = `[{"Config":"c.json","RepoTags":["busybox:latest","x:1"],"Layers":["l/layer.tar"]}]`

func TestALoadedArchiveHasNoNamesOnItsWay(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.engine.answers["POST /images/load"] = `{"status":"Loading layer"}` + "\n" + fmt.Sprintf(`{"stream":"Loaded image: mark\n"}{"progress":%q}`, id("1"))
	sent := archive(t, entry{name: "./l/", kind: tar.TypeDir}, entry{name: "l/layer.tar", text: "layer"}, entry{name: "m/layer.tar", kind: tar.TypeSymlink, link: "../l/layer.tar"},
		entry{name: "/manifest.json", text: manifest}, entry{name: "repositories", text: `{"busybox":{"latest":"c"}}`}, entry{name: "index.json", text: `{"schemaVersion":2,"manifests":[]}`})
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	io.WriteString(w, sent)
	w.Close()
	for _, body := range []string{sent, zipped.String()} {
		a := l.ask(t, alice, "POST", "/v1.41/images/load?quiet=1", body)
		if a.status != 200 || !strings.Contains(a.body, "Loading layer") || !strings.Contains(a.body, `Loaded image: busybox:latest\n`) || !strings.Contains(a.body, `Loaded image: x:1\n`) {
			t.Errorf("%d %s", a.status, a.body)
		}
		want := []string{
			"l/", "l/layer.tar layer", "m/layer.tar -> ../l/layer.tar", `manifest.json [{"Config":"c.json","RepoTags":["MARK"],"Layers":["l/layer.tar"]}]`,
			`index.json {"schemaVersion":2,"manifests":[]}`,
		}
		if diff := cmp.Diff(want, unmarked(entries(t, l.engine.bodies[len(l.engine.bodies)-1])...)); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	}
	if l.engine.last() != "POST /v1.41/images/load?quiet=1" {
		t.Errorf("asked %s", l.engine.last())
	}
	i, err := l.engine.Image(t.Context(), id("1"))
	if err != nil || !slices.Equal(sorted(i.Names...), []string{"ds01-71001/busybox:latest", "ds01-71001/x:1"}) || !l.images.Owns(id("1"), alice) {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestAnArchiveThatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	l := newLab(t)
	doc := entry{name: "manifest.json", text: manifest}
	for name, c := range map[string]struct {
		entries []entry
		says    string
	}{
		"no manifest":                    {[]entry{{name: "repositories", text: "{}"}}, "no manifest.json"},
		"two manifests":                  {[]entry{doc, {name: "./manifest.json", text: "[]"}}, "two manifests"},
		"a manifest that is a link":      {[]entry{doc, {name: "manifest.json", kind: tar.TypeSymlink, link: "x"}}, "is a link"},
		"a manifest that is a hard link": {[]entry{{name: "x", text: manifest}, {name: "manifest.json", kind: tar.TypeLink, link: "x"}}, "is a link"},
		"a manifest that is a directory": {[]entry{doc, {name: "manifest.json/", kind: tar.TypeDir}}, "of a kind"},
		"a file behind a link":           {[]entry{doc, {name: "a", kind: tar.TypeSymlink, link: "."}, {name: "a/manifest.json", text: "[]"}}, "behind a link"},
		"a file that climbs":             {[]entry{doc, {name: "../manifest.json", text: "[]"}}, "lies outside"},
		"a device":                       {[]entry{doc, {name: "dev", kind: tar.TypeChar}}, "of a kind"},
		"another's name":                 {[]entry{{name: "manifest.json", text: `[{"Config":"c","RepoTags":["ds01-71002/x:1"]}]`}}, "a person's own repository"},
		"a name that is none":            {[]entry{{name: "manifest.json", text: `[{"Config":"c","RepoTags":["A B"]}]`}}, "not named A B"},
		"a key that we don't know":       {[]entry{{name: "manifest.json", text: `[{"Config":"c","repoTags":["busybox"]}]`}}, "repoTags"},
		"a manifest too large":           {[]entry{{name: "manifest.json", text: strings.Repeat(" ", 1<<20+1)}}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			l.engine.answers["POST /images/load"] = `{"stream":"x"}`
			a := l.ask(t, alice, "POST", "/v1.41/images/load", archive(t, c.entries...))
			wantRefusal(t, a, 400, c.says)
		})
	}
	l.engine.answers["POST /images/load"] = `{"stream":"x"}`
	hole := l.ask(t, alice, "POST", "/v1.41/images/load", sparseArchive(t))
	wantRefusal(t, hole, 400, "is sparse")
	for body, says := range map[string]string{"": "it is empty", "\xfd7zXZ\x00xxx": "xz or zstd", strings.Repeat("no archive", 100): "Archive not read"} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/load", body), 400, says)
	}
}

func TestASavedArchiveHasOnesOwnNames(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1"), Names: []string{"ds01-71001/x:1", "ds01-71001/x:2", "ds01-71002/y:1"}})
	l.engine.AddImage(container.Image{ID: id("2"), Names: []string{"ds01-71001/z:latest"}})
	l.engine.answers["GET /images/get"] = archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["ds01-71001/x:1"],"Layers":[],"New":1}]`},
		entry{name: "repositories", text: `{"ds01-71001/x":{"1":"c"}}`}, entry{name: "l/layer.tar", text: "ds01-71001/x"})
	for path, want := range map[string][]string{
		"/images/get?names=x:1&names=busybox": {"ds01-71001/x:1", "busybox:latest"}, "/images/x/get": {"ds01-71001/x:1", "ds01-71001/x:2"},
		"/images/z/get": {"ds01-71001/z:latest"}, "/images/" + id("1") + "/get": {id("1")}, "/images/" + id("2")[7:19] + "/get": {id("2")},
	} {
		a := l.ask(t, alice, "GET", "/v1.41"+path, "")
		asked, err := url.Parse(strings.TrimPrefix(l.engine.last(), "GET "))
		if err != nil || !slices.Equal(asked.Query()["names"], want) {
			t.Errorf("%s: asked %s", path, l.engine.last())
		}
		wanted := []string{`manifest.json [{"RepoTags":["x:1"],"Config":"c","Layers":[],"New":1}]`, `repositories {"x":{"1":"c"}}`, "l/layer.tar ds01-71001/x"}
		if diff := cmp.Diff(wanted, entries(t, a.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	for _, path := range []string{"/images/y:1/get", "/images/get?names=x:1&names=none", "/images/none/get"} {
		wantRefusal(t, l.ask(t, alice, "GET", "/v1.41"+path, ""), 404, "No such image")
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/images/get", ""), 400, "no image is named")
}

func TestACommitIsOnesOwnBeforeItHasAName(t *testing.T) {
	l := newLab(t)
	l.api = "1.42"
	hers, his := l.create(t, alice), l.create(t, bob)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.engine.answers["POST /commit"] = fmt.Sprintf(`{"Id":%q}`, id("1"))
	a := l.ask(t, alice, "POST", "/v1.41/commit?container=web&repo=app&tag=1&pause=1&comment=c&author=a&changes=CMD+a&changes=USER+b", `{"Labels":{"aime.mlc":"bob"}}`)
	if a.status != 201 || !strings.Contains(a.body, id("1")) || !l.images.Owns(id("1"), alice) {
		t.Errorf("%d %s", a.status, a.body)
	}
	asked, err := url.QueryUnescape(l.engine.last())
	if want := "POST /v1.41/commit?author=a&changes=CMD a&changes=USER b&comment=c&container=" + hers + "&pause=0&repo=ds01-71001/ds01-nameless&tag="; err != nil || !strings.HasPrefix(asked, want) {
		t.Errorf("asked %s", asked)
	}
	if body := l.engine.bodies[len(l.engine.bodies)-1]; strings.Contains(body, "bob") {
		t.Errorf("sent %s", body)
	}
	if i, err := l.engine.Image(t.Context(), "ds01-71001/app:1"); err != nil || i.ID != id("1") {
		t.Errorf("%+v, %v", i, err)
	}
	before := l.engine.last()
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/commit?container="+his, ""), 404, "No such container")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/commit?container=web&repo=ds01-71002/x", ""), 404, "No such image")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/commit?container=web&changes=RUN+true", ""), 403, "not served")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/commit?container=web", `{"Privileged":true}`), 400, "Privileged")
	if l.engine.last() != before {
		t.Errorf("the engine was asked %s", l.engine.last())
	}
}

// makings returns what the store waits for.
func (l *lab) makings(t *testing.T) []container.Making {
	t.Helper()
	all, err := l.records.Makings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatWasMadeIsKeptThoughTheAnswerIsLost(t *testing.T) {
	for name, c := range map[string]struct{ route, ask, body, answer string }{
		"commit":  {"POST /commit", "/commit?container=web&repo=app&tag=1", "", fmt.Sprintf(`{"Id":%q}`, id("1"))},
		"import":  {"POST /images/create", "/images/create?fromSrc=-&repo=app&tag=1", "tree", fmt.Sprintf(`{"status":%q}`, id("1"))},
		"loading": {"POST /images/load", "/images/load", archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]}]`}), fmt.Sprintf(`{"stream":%q}`, id("1"))},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.api = "1.42"
			l.create(t, alice)
			l.engine.AddImage(container.Image{ID: id("1")})
			l.engine.answers[c.route], l.engine.lost = c.answer, true
			wantRefusal(t, l.ask(t, alice, "POST", "/v1.41"+c.ask, c.body), 503, "may or may not have been made")
			i, err := l.engine.Image(t.Context(), id("1"))
			if err != nil || !slices.Equal(i.Names, []string{"ds01-71001/app:1"}) || !l.images.Owns(id("1"), alice) || len(l.makings(t)) > 0 {
				t.Errorf("%+v, %v; owned by %+v; waiting for %+v", i, err, l.images.Owners(id("1")), l.makings(t))
			}
		})
	}
}

func TestWhatTheEngineRefusesIsWaitedForNoLonger(t *testing.T) {
	for name, c := range map[string]struct{ route, ask, body string }{
		"commit":  {"POST /commit", "/commit?container=web&repo=app&tag=1", ""},
		"import":  {"POST /images/create", "/images/create?fromSrc=-&repo=app&tag=1", "tree"},
		"loading": {"POST /images/load", "/images/load", archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]}]`})},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.api = "1.42"
			l.create(t, alice)
			l.engine.answers[c.route] = `500!{"message":"no space left on device"}`
			waited := 0
			l.engine.during = func(string) { waited = len(l.makings(t)) }
			if a := l.ask(t, alice, "POST", "/v1.41"+c.ask, c.body); a.status != 500 || !strings.Contains(a.body, "no space left") {
				t.Errorf("%d %s", a.status, a.body)
			}
			if waited != 1 || len(l.makings(t)) > 0 {
				t.Errorf("waited for %d while the engine was asked, then for %+v", waited, l.makings(t))
			}
		})
	}
}

func TestAnArchiveThatIsCutOffIsWaitedForNoLonger(t *testing.T) {
	l := newLab(t)
	l.engine.answers["POST /images/load"] = `{"stream":"x"}`
	whole := archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]}]`}, entry{name: "l/layer.tar", text: strings.Repeat("x", 10000)})
	if a := l.ask(t, alice, "POST", "/v1.41/images/load", whole[:5000]); a.status < 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if left := l.makings(t); len(left) > 0 {
		t.Errorf("waiting for %+v", left)
	}
}

func TestImagesThatAreToldByIDAreNamed(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.engine.AddImage(container.Image{ID: id("2")})
	l.engine.during = func(string) { l.engine.unread = true }
	l.engine.answers["POST /images/load"] = fmt.Sprintf(`{"stream":"Loaded image ID: %s\nLoaded image ID: %s\n"}`, id("1"), id("2"))
	a := l.ask(t, alice, "POST", "/v1.41/images/load", archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]},{"Config":"d","RepoTags":null}]`}))
	if !strings.Contains(a.body, `Loaded image: app:1\n`) || !strings.Contains(a.body, `Loaded image ID: `+id("2")) || !l.images.Owns(id("2"), alice) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if i, err := l.engine.Image(t.Context(), "ds01-71001/app:1"); err != nil || i.ID != id("1") {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestNobodySeesANameThatIsLentToAPush(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1"), Names: []string{"ds01-71001/reg__5000/x:1"}})
	if err := l.images.Own(t.Context(), id("1"), alice, container.ByLoad); err != nil {
		t.Fatal(err)
	}
	l.engine.answers["POST /images/reg:5000/x/push"] = `{"status":"pushed"}`
	seen := false
	l.engine.during = func(path string) {
		if !strings.HasSuffix(path, "/push") {
			return
		}
		seen = true
		if i, err := l.engine.Image(t.Context(), "reg:5000/x:1"); err != nil || i.ID != id("1") {
			t.Errorf("the engine knows %+v, %v", i, err)
		}
		for _, reference := range []string{"reg:5000/x:1", id("1")} {
			if _, err := l.images.Find(t.Context(), curator.Person{UID: bob}, reference); !errors.Is(err, problem.ErrNotFound) {
				t.Errorf("bob finds %s: %v", reference, err)
			}
		}
	}
	a := l.ask(t, alice, "POST", "/v1.41/images/reg:5000/x/push?tag=1", "")
	if a.status != 200 || !strings.Contains(a.body, "pushed") || !seen || l.engine.last() != "POST /v1.41/images/reg:5000/x/push?tag=1" {
		t.Errorf("%d %s after %s", a.status, a.body, l.engine.last())
	}
	if i, err := l.engine.Image(t.Context(), id("1")); err != nil || !slices.Equal(i.Names, []string{"ds01-71001/reg__5000/x:1"}) {
		t.Errorf("%+v, %v", i, err)
	}
	wantRefusal(t, l.ask(t, bob, "POST", "/v1.41/images/reg:5000/x/push?tag=1", ""), 404, "No such image")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/x/push?tag=1", ""), 400, "says no registry")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/ds01-71001/x/push?tag=1", ""), 400, "says no registry")
}

// denies is a site whose rules deny one repository.
type denies string

func (d denies) Judge(_ context.Context, in policy.Input) (v policy.Verdict, err error) {
	if in.Request.Image.Repository == string(d) {
		v.Denials = []policy.Denial{{Rule: "site.rego:3", Message: "no " + string(in.Action) + " of " + in.Request.Image.Tag}}
	}
	return v, nil
}

func TestTheSitesRulesJudgePullsAndPushes(t *testing.T) {
	l := newLab(t)
	l.rules = denies("x")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/create?fromImage=reg:5000/x&tag=1", ""), 403, "not pulled: site policy: no image.pull of 1 (site.rego:3)")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/reg:5000/x/push?tag=1", ""), 403, "not pushed: site policy: no image.push of 1 (site.rego:3)")
	if asked := l.engine.last(); strings.Contains(asked, "create") || strings.Contains(asked, "push") {
		t.Errorf("the engine was asked: %s", asked)
	}
	if a := l.ask(t, alice, "POST", "/v1.41/images/create?fromImage=reg:5000/y&tag=1", ""); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRegistriesOfTheList(t *testing.T) {
	l := newLab(t)
	l.hosts = []string{"docker.io", "reg:5000"}
	for _, refused := range [][3]string{
		{"POST", "/images/create?fromImage=ghcr.io/x", ""},
		{"POST", "/images/ghcr.io/x/push?tag=1", ""},
		{"GET", "/distribution/ghcr.io/x/json", ""},
		{"GET", "/images/search?term=ghcr.io/x", ""},
		{"POST", "/auth", `{"serveraddress":"https://ghcr.io/v2/"}`},
		{"POST", "/auth", `{"serveraddress":"http://169.254.169.254"}`},
	} {
		wantRefusal(t, l.ask(t, alice, refused[0], "/v1.41"+refused[1], refused[2]), 403, "not one that this host uses")
	}
	for _, served := range [][3]string{
		{"POST", "/images/create?fromImage=busybox", ""},
		{"POST", "/images/create?fromImage=reg:5000/x&tag=1", ""},
		{"GET", "/distribution/busybox/json", ""},
		{"GET", "/images/search?term=busybox", ""},
		{"GET", "/images/search?term=a/b", ""},
		{"POST", "/auth", `{"serveraddress":"https://index.docker.io/v1/"}`},
		{"POST", "/auth", `{"serveraddress":"reg:5000"}`},
	} {
		if a := l.ask(t, alice, served[0], "/v1.41"+served[1], served[2]); a.status != 204 {
			t.Errorf("%v: %d %s", served, a.status, a.body)
		}
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/distribution/ds01-71002/x/json", ""), 404, "No such image")
}

func TestPruningFilters(t *testing.T) {
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: id("1"), Names: []string{"ds01-71001/a:1"}, CreatedAt: time.Now().Add(-2 * time.Hour), Labels: map[string]string{"keep": "no"}})
	l.engine.AddImage(container.Image{ID: id("2"), Names: []string{"ds01-71001/b:1"}, CreatedAt: time.Now().Add(-2 * time.Hour)})
	for _, bad := range []string{`{"dangling":["maybe"]}`, `{"until":["soon"]}`, `{"name":["x"]}`} {
		if a := l.ask(t, alice, "POST", "/v1.41/images/prune?filters="+url.QueryEscape(bad), ""); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
	}
	type pruned struct{ ImagesDeleted []map[string]string }
	for _, c := range []struct {
		filters string
		want    int
	}{
		{"", 0},
		{`{"dangling":["false"],"label":["keep=yes"]}`, 0},
		{`{"dangling":["false"],"until":["2000-01-01"]}`, 0},
		{`{"dangling":{"false":true},"label":["keep"]}`, 2},
		{`{"dangling":["0"],"label!":["keep"],"until":["1h"]}`, 2},
	} {
		a := l.ask(t, alice, "POST", "/v1.41/images/prune?filters="+url.QueryEscape(c.filters), "")
		if got := decode[pruned](t, a); len(got.ImagesDeleted) != c.want {
			t.Errorf("%s: %s", c.filters, a.body)
		}
	}
}

// unmarked writes MARK in the place of marks.
func unmarked(texts ...string) (all []string) {
	for _, text := range texts {
		all = append(all, mark.ReplaceAllString(text, "MARK"))
	}
	return all
}

// sparseArchive is made by tar of a file that is one hole.
func sparseArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(1<<40), file.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "-C", dir, "--format=posix", "--sparse", "-cf", "-", "hole").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
