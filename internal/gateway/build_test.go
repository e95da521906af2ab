package gateway_test

import (
	"archive/tar"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// build builds a context of these entries.
func (l *lab) build(t *testing.T, query string, entries ...entry) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker/v1.41/build?"+query, strings.NewReader(archive(t, entries...)))
	if err != nil {
		t.Fatal(err)
	}
	return l.send(t, alice, r)
}

// sent returns the query and the context of the last build.
func (l *lab) sentBuild(t *testing.T) (url.Values, []string) {
	t.Helper()
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	i := len(l.engine.requests) - 1
	for i >= 0 && !strings.Contains(l.engine.requests[i], "/build?") {
		i--
	}
	if i < 0 {
		t.Fatal("no build was asked for")
	}
	_, query, _ := strings.Cut(l.engine.requests[i], "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return values, inArchive(t, l.engine.bodies[i])
}

const busyboxID = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

func plainRecipe() entry { return entry{name: "Dockerfile", text: "FROM busybox\nRUN true\n"} }

// newBuildLab has a busybox, and an engine that builds.
func newBuildLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.engine.AddImage(container.Image{ID: busyboxID, Names: []string{"busybox:latest"}})
	l.engine.AddImage(container.Image{ID: builtID})
	l.engine.answers["POST /build"] = strings.Join([]string{
		`{"stream":"Step 1/3 : FROM ` + busyboxID + `"}`, `{"stream":"\n"}`, `{"stream":" ---\u003e bbbbbbbbbbbb\n"}`,
		`{"stream":"Step 2/3 : LABEL ours"}`, `{"stream":"\n"}`, `{"stream":" ---\u003e 111111111111\n"}`,
		`{"stream":"Step 3/3 : RUN true"}`, `{"stream":"\n"}`, `{"stream":" ---\u003e Running in 222222222222\n"}`, `{"stream":"Step 1/1 : mine\n"}`,
		`{"aux":{"ID":"` + builtID + `"}}`, `{"stream":"Successfully built cccccccccccc\n"}`, `{"stream":"Successfully tagged ds01-1001/ds01-nameless:x\n"}`,
	}, "\n")
	return l
}

const builtID = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

func TestABuildIsAskedInWordsOfOurs(t *testing.T) {
	l := newBuildLab(t)
	a := l.build(t, "t=app&t=reg:5000/x&nocache=1&memory=-1&memswap=-1&cpuquota=-1&rm=0&cgroupparent=&target=&labels=%7B%22a%22%3A%22b%22%7D&buildargs=%7B%22X%22%3Anull%7D&pull=0&networkmode=none",
		entry{name: "./", kind: tar.TypeDir}, entry{name: "../a/./b", text: "no"})
	wantRefusal(t, a, 403, "climbs")
	a = l.build(t, "t=app&t=reg:5000/x&nocache=1&memory=-1&memswap=-1&cpuquota=-1&rm=0&cgroupparent=&target=&labels=%7B%22a%22%3A%22b%22%7D&buildargs=%7B%22X%22%3Anull%7D&pull=0&networkmode=none",
		plainRecipe(), entry{name: "a", text: "x"})
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	query, files := l.sentBuild(t)
	for key, want := range map[string]string{
		"rm": "1", "forcerm": "1", "nocache": "1", "cgroupparent": "/ds01/u", "networkmode": "none", "dockerfile": ".ds01-dockerfile", "version": "1",
		"labels": `{"a":"b"}`, "buildargs": `{"X":null}`, "pull": "", "target": "", "cachefrom": "",
	} {
		if got := query.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if bound := bound(); !bound.Memory.Unlimited && query.Get("memory") == "" {
		t.Errorf("no limit of memory: %v", query)
	}
	if !mark.MatchString(query.Get("t")) || len(query["t"]) != 1 {
		t.Errorf("named %v", query["t"])
	}
	want := []string{
		"./a=x", "./Dockerfile=FROM busybox\nRUN true\n", "./.dockerignore=.dockerignore\n.ds01-dockerfile\n",
		"./.ds01-dockerfile=FROM " + busyboxID + "\nLABEL aime.mlc.DS01_UID=71001 aime.mlc.DS01_CLAIM=\"\"\nRUN true\n",
	}
	if !slices.Equal(files, want) {
		t.Errorf("sent %q, want %q", files, want)
	}
	told := []string{
		`{"stream":"Step 1/2 : FROM busybox"}`, `{"stream":"\n"}`, `{"stream":" ---\u003e bbbbbbbbbbbb\n"}`,
		`{"stream":"Step 2/2 : RUN true"}`, `{"stream":"\n"}`, `{"stream":" ---\u003e Running in 222222222222\n"}`, `{"stream":"Step 1/1 : mine\n"}`,
		`{"aux":{"ID":"` + builtID + `"}}`, `{"stream":"Successfully built cccccccccccc\n"}`,
		`{"stream":"Successfully tagged app:latest\n"}`, `{"stream":"Successfully tagged reg:5000/x:latest\n"}`,
	}
	if got := strings.Split(strings.TrimSpace(a.body), "\r\n"); !slices.Equal(got, told) {
		t.Errorf("told %q\nwant %q", got, told)
	}
	i, err := l.engine.Image(t.Context(), builtID)
	if err != nil || !slices.Equal(sorted(i.Names...), []string{"ds01-71001/app:latest", "ds01-71001/reg__5000/x:latest"}) || !l.images.Owns(builtID, alice) {
		t.Errorf("%+v, %v", i.Names, err)
	}
}

func TestNothingOfAContextStandsInThePlaceOfOurDockerfile(t *testing.T) {
	l := newBuildLab(t)
	for name, c := range map[string]struct {
		entries []entry
		status  int
		says    string
	}{
		"a file of its name":             {[]entry{{name: ".ds01-dockerfile", text: "FROM x"}}, 400, "a name of ds01's"},
		"a file of its name, not clean":  {[]entry{{name: "a/.././/.ds01-dockerfile", text: "FROM x"}}, 403, "climbs"},
		"a link of its name":             {[]entry{{name: "./.ds01-dockerfile", kind: tar.TypeSymlink, link: "x"}}, 400, "a name of ds01's"},
		"a folder of its name":           {[]entry{{name: "/.ds01-dockerfile/", kind: tar.TypeDir}}, 400, "a name of ds01's"},
		"a file behind a link":           {[]entry{{name: "a", kind: tar.TypeSymlink, link: "."}, {name: "a/b", text: "FROM x"}}, 400, "behind a link"},
		"a root that is a link":          {[]entry{{name: "./", kind: tar.TypeSymlink, link: "x"}}, 400, "no directory"},
		"a device":                       {[]entry{{name: "d", kind: tar.TypeChar}}, 403, "a device"},
		"a Dockerfile that is a link":    {[]entry{{name: "Dockerfile", kind: tar.TypeSymlink, link: "x"}}, 400, "name the file with -f"},
		"a list that is a link":          {[]entry{{name: ".dockerignore", kind: tar.TypeSymlink, link: "x"}}, 400, "no file"},
		"no Dockerfile":                  {[]entry{{name: "x"}}, 400, "Cannot locate"},
		"an empty context":               {nil, 400, "Cannot locate"},
		"a Dockerfile that is too large": {[]entry{{name: "Dockerfile", text: strings.Repeat("#\n", 1<<20)}}, 400, "has more than"},
		"a Dockerfile without FROM":      {[]entry{{name: "Dockerfile", text: "ARG x"}}, 400, "no FROM"},
		"an image that isn't there":      {[]entry{{name: "Dockerfile", text: "FROM ds01-1002/x"}}, 404, "isn't on this host"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(l.engine.requests)
			wantRefusal(t, l.build(t, "t=x", c.entries...), c.status, c.says)
			for _, r := range l.engine.requests[before:] {
				t.Errorf("the engine was asked for %s", r)
			}
		})
	}
	if _, err := l.images.Find(t.Context(), curator.Person{UID: alice}, "x"); err == nil {
		t.Error("something was built")
	}
}

func TestOneTextIsReadAndSent(t *testing.T) {
	l := newBuildLab(t)
	for name, c := range map[string]struct {
		query   string
		entries []entry
		reads   string // its FROM line
	}{
		"of two, the last":              {"", []entry{{name: "Dockerfile", text: "FROM none"}, plainRecipe()}, "FROM busybox"},
		"in small letters":              {"", []entry{{name: "dockerfile", text: "FROM busybox"}}, "FROM busybox"},
		"in capitals first":             {"", []entry{{name: "dockerfile", text: "FROM none"}, plainRecipe()}, "FROM busybox"},
		"by a path that isn't clean":    {"dockerfile=./a/../Recipe", []entry{{name: "a", kind: tar.TypeSymlink, link: "/"}, {name: "Recipe", text: "FROM busybox"}}, "FROM busybox"},
		"by a path that climbs":         {"dockerfile=../../Recipe", []entry{{name: "Recipe", text: "FROM busybox"}}, "FROM busybox"},
		"a second name of another file": {"dockerfile=b", []entry{plainRecipe(), {name: "b", kind: tar.TypeLink, link: "Dockerfile"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := l.build(t, c.query, c.entries...)
			if c.reads == "" {
				wantRefusal(t, a, 400, "link")
				return
			}
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			_, files := l.sentBuild(t)
			if got := files[len(files)-1]; !strings.HasPrefix(got, "./.ds01-dockerfile=FROM "+busyboxID) {
				t.Errorf("sent %q", got)
			}
		})
	}
}

func TestABuildNeedsRoom(t *testing.T) {
	l := newBuildLab(t)
	l.space = func() container.Space { return container.Space{Known: true, Free: 1, Keep: 1 << 30} }
	wantRefusal(t, l.build(t, "", plainRecipe()), 503, "free")
}

// What reads a client's files runs beside the request, where a panic would end
// the daemon.
func TestABuildThatBreaksDs01EndsOnlyItself(t *testing.T) {
	l := newBuildLab(t)
	looks := 0
	l.space = func() container.Space {
		if looks++; looks > 1 {
			panic("planted")
		}
		return container.Space{}
	}
	wantRefusal(t, l.build(t, "", plainRecipe()), 503, "it broke something in ds01")
}

func TestALostAnswerOfABuildIsSaid(t *testing.T) {
	l := newBuildLab(t)
	l.engine.lost = true
	a := l.build(t, "t=app", plainRecipe())
	wantRefusal(t, a, 503, "may or may not")
	if !l.images.Owns(builtID, alice) {
		t.Error("what was built all the same isn't hers")
	}
}
