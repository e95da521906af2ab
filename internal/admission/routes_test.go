package admission_test

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

func TestMatch(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, query string
		op                  admission.Op
		version, param      string
	}{
		"without a version":             {"GET", "/_ping", "", admission.Ping, "", ""},
		"with a version":                {"GET", "/v1.41/_ping", "", admission.Ping, "1.41", ""},
		"by name":                       {"POST", "/v1.41/containers/web_1.x-y/start", "", admission.ContainerStart, "1.41", "web_1.x-y"},
		"a container called create":     {"POST", "/v1.41/containers/create/start", "", admission.ContainerStart, "1.41", "create"},
		"create itself":                 {"POST", "/v1.41/containers/create", "name=web", admission.ContainerCreate, "1.41", ""},
		"the list":                      {"GET", "/v1.51/containers/json", "all=1", admission.ContainerList, "1.51", ""},
		"a container called json":       {"GET", "/v1.51/containers/json/json", "", admission.ContainerInspect, "1.51", "json"},
		"an image with slashes":         {"GET", "/v1.51/images/ghcr.io/a/b:1.2/json", "", admission.ImageInspect, "1.51", "ghcr.io/a/b:1.2"},
		"an image by digest":            {"GET", "/images/busybox@sha256:abc/json", "", admission.ImageInspect, "", "busybox@sha256:abc"},
		"the list of images":            {"GET", "/images/json", "", admission.ImageList, "", ""},
		"an empty key we don't know":    {"GET", "/images/json", "filter=", admission.ImageList, "", ""},
		"what is at a path":             {"HEAD", "/containers/web/archive", "path=%2Fetc", admission.ArchiveStat, "", "web"},
		"files out":                     {"GET", "/containers/web/archive", "path=/etc", admission.ArchiveGet, "", "web"},
		"files in":                      {"PUT", "/containers/web/archive", "path=/&noOverwriteDirNonDir=true", admission.ArchivePut, "", "web"},
		"another name":                  {"POST", "/containers/web/rename", "name=b", admission.ContainerRename, "", "web"},
		"pruning":                       {"POST", "/containers/prune", "filters=%7B%7D", admission.ContainerPrune, "", ""},
		"an exec":                       {"POST", "/exec/0123abcd/start", "", admission.ExecStart, "", "0123abcd"},
		"values are kept as they stand": {"GET", "/containers/web/top", "ps_args=-o%20pid", admission.ContainerTop, "", "web"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := admission.NewTable().Match(c.method, c.path, c.query)
			if err != nil {
				t.Fatal(err)
			}
			if m.Op != c.op || m.Version != c.version || m.Param != c.param {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestWhatIsNoRouteIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, query string
		kind                error
	}{
		"an encoded slash":                 {"POST", "/v1.40%2fcontainers%2fcreate", "", problem.ErrInvalid},
		"an encoded letter":                {"POST", "/v1.40/containers/%63reate", "", problem.ErrInvalid},
		"an encoded question mark":         {"POST", "/containers/victim%3fx=/start", "", problem.ErrInvalid},
		"an encoded NUL":                   {"POST", "/containers/x%00/start", "", problem.ErrInvalid},
		"two slashes":                      {"POST", "/v1.40//containers/create", "", problem.ErrInvalid},
		"a slash at the end":               {"POST", "/v1.40/containers/create/", "", problem.ErrInvalid},
		"dots":                             {"POST", "/v1.40/x/../containers/create", "", problem.ErrInvalid},
		"one dot":                          {"POST", "/v1.40/./containers/create", "", problem.ErrInvalid},
		"encoded dots":                     {"POST", "/v1.40/x/%2e%2e/containers/create", "", problem.ErrInvalid},
		"a backslash":                      {"POST", `/v1.40\containers\create`, "", problem.ErrInvalid},
		"no path":                          {"GET", "", "", problem.ErrInvalid},
		"a host for a path":                {"GET", "http://evil/v1.51/info", "", problem.ErrInvalid},
		"the root":                         {"GET", "/", "", problem.ErrInvalid},
		"a version and nothing else":       {"GET", "/v1.41", "", problem.ErrDenied},
		"a version of dots":                {"GET", "/v...../_ping", "", problem.ErrDenied},
		"a version too large":              {"GET", "/v999999/_ping", "", problem.ErrDenied},
		"a version with one digit":         {"GET", "/v1.4/_ping", "", problem.ErrDenied},
		"another major version":            {"GET", "/v2.41/_ping", "", problem.ErrDenied},
		"two versions":                     {"GET", "/v1.41/v1.41/_ping", "", problem.ErrDenied},
		"a greedy name":                    {"POST", "/containers/a/b/exec", "", problem.ErrDenied},
		"a greedy name before create":      {"POST", "/containers/a/containers/create", "", problem.ErrDenied},
		"a name that begins with a dash":   {"POST", "/containers/-x/start", "", problem.ErrDenied},
		"a name with a space":              {"POST", "/containers/a b/start", "", problem.ErrDenied},
		"a method of another route":        {"DELETE", "/containers/a/exec", "", problem.ErrDenied},
		"OPTIONS":                          {"OPTIONS", "/containers/json", "", problem.ErrDenied},
		"a build with entitlements":        {"POST", "/build", "version=2&entitlements=network.host", problem.ErrDenied},
		"a method of BuildKit's":           {"POST", "/moby.buildkit.v1.Control/Solve", "", problem.ErrDenied},
		"a build's unknown parameter":      {"POST", "/build", "entitlements=x", problem.ErrDenied},
		"a build told its context twice":   {"POST", "/build", "dockerfile=a&dockerfile=b", problem.ErrInvalid},
		"a stop told its time twice":       {"POST", "/containers/a/stop", "t=1&t=2", problem.ErrInvalid},
		"attach by websocket":              {"GET", "/containers/a/attach/ws", "", problem.ErrDenied},
		"profiles of the engine":           {"GET", "/debug/pprof/heap", "", problem.ErrDenied},
		"plugins":                          {"POST", "/plugins/pull", "remote=x", problem.ErrDenied},
		"swarm":                            {"POST", "/swarm/init", "", problem.ErrDenied},
		"services":                         {"POST", "/services/create", "", problem.ErrDenied},
		"a query key given twice":          {"POST", "/containers/create", "name=a&name=b", problem.ErrInvalid},
		"a query with a semicolon":         {"POST", "/containers/create", "name=a;name=b", problem.ErrInvalid},
		"a query that can't be unescaped":  {"POST", "/containers/create", "name=%zz", problem.ErrInvalid},
		"a query key we don't know":        {"POST", "/containers/a/start", "checkpoint=x", problem.ErrDenied},
		"a folder for a checkpoint":        {"POST", "/containers/a/start", "checkpoint-dir=/", problem.ErrDenied},
		"a key in another case":            {"POST", "/containers/create", "Name=a", problem.ErrDenied},
		"a field of the body, elsewhere":   {"POST", "/containers/a/update", "Memory=1", problem.ErrDenied},
		"a field of a part of the body":    {"POST", "/containers/create", "Privileged=true", problem.ErrDenied},
		"an image that climbs":             {"GET", "/images/a/../../b/json", "", problem.ErrInvalid},
		"copying with a key we don't know": {"PUT", "/containers/a/archive", "path=/&follow=1", problem.ErrDenied},
		"a cluster's volumes":              {"PUT", "/volumes/x", "", problem.ErrDenied},
		"one node that isn't there":        {"GET", "/nodes/x", "", problem.ErrNotFound},
		"a container by an image's name":   {"GET", "/containers/reg:5000/x:1/json", "", problem.ErrNotFound},
		"a volume by an image's name":      {"GET", "/volumes/x:1", "", problem.ErrNotFound},
		"a plugin by an image's name":      {"GET", "/plugins/a/b/json", "", problem.ErrNotFound},
		"logs by an image's name":          {"GET", "/containers/x:1/logs", "", problem.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := admission.NewTable().Match(c.method, c.path, c.query)
			if !errors.Is(err, c.kind) {
				t.Errorf("got %v, want one of kind %q", err, c.kind)
			}
		})
	}
}

// TestANameThatNothingCanHaveIsSaidOnEachRoute asks as clients do, which encode
// what they are given for a name.
func TestANameThatNothingCanHaveIsSaidOnEachRoute(t *testing.T) {
	table, tried := admission.NewTable(), 0
	for _, r := range admission.Routes() {
		if r.How == admission.Refused || r.How == admission.Absent || !strings.Contains(r.Pattern, "{") {
			continue
		}
		tried++
		next := "docker ps -a"
		if strings.Contains(r.Pattern, "{image}") {
			next = "docker images -a"
		}
		for encoded, name := range map[string]string{"%3Cnone%3E:%3Cnone%3E": "<none>:<none>", "my%20web": "my web", "w%C3%A4sche": "wäsche", "a%2Fb": "a/b", "100%25": "100%", "_x": "_x", "a+b": "a+b"} {
			kind := problem.ErrDenied
			if strings.Contains(encoded, "%") {
				kind = problem.ErrInvalid
			}
			path := "/v1.41" + strings.NewReplacer("{id}", encoded, "{image}", encoded).Replace(r.Pattern)
			_, err := table.Match(r.Method, path, "")
			wrong, ok := errors.AsType[*problem.Error](err)
			if !ok || !errors.Is(err, kind) || wrong.What != "No such object: "+strconv.Quote(name) || !strings.Contains(wrong.Next, next) {
				t.Errorf("%s %s: %v", r.Method, path, err)
			}
		}
	}
	if tried < 30 {
		t.Errorf("%d routes have names", tried)
	}
}

func TestEachRouteIsFoundByWhatItSays(t *testing.T) {
	table := admission.NewTable()
	for _, r := range admission.Routes() {
		target := strings.NewReplacer("{id}", "web", "{image}", "library/busybox:1").Replace(r.Pattern)
		var query url.Values = map[string][]string{}
		for _, key := range r.Query {
			query.Set(key, "1")
		}
		// Old and new versions, and none, come to the same row.
		for _, version := range []string{"", "/v1.24", "/v1.41", "/v1.56"} {
			m, err := table.Match(r.Method, version+target, query.Encode())
			switch {
			case r.How == admission.Refused && (!errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), r.Why)),
				r.How == admission.Absent && !errors.Is(err, problem.ErrNotFound):
				t.Errorf("%s %s is %s: %v", r.Method, r.Pattern, r.How, err)
			case r.Op != "" && (err != nil || m.Op != r.Op || len(m.Query) != len(r.Query)):
				t.Errorf("%s %s: %+v, %v", r.Method, r.Pattern, m, err)
			}
		}
	}
}

func TestEachRouteSaysWhoMayAndHow(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range admission.Routes() {
		row := r.Method + " " + r.Pattern
		served := r.How != admission.Refused && r.How != admission.Absent
		switch {
		case seen[row]:
			t.Errorf("%s stands there twice", row)
		case r.How == "" || r.Who == "" || (r.Who == admission.Nobody) != (r.How == admission.Refused):
			t.Errorf("%s: %s for %s", row, r.How, r.Who)
		case served != (r.Op != ""), served != (r.Why == ""):
			t.Errorf("%s: operation %q, and why not: %q", row, r.Op, r.Why)
		case r.Body && r.Method != http.MethodPost:
			t.Errorf("%s has a body", row)
		}
		seen[row] = true
	}
}

func TestCheckPsArguments(t *testing.T) {
	for _, args := range []string{"", "-ef", "aux", "-o pid,cmd", "--sort=-rss"} {
		if err := admission.CheckPsArguments(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range []string{"-F /etc/shadow", "-o pid;id", "$(id)", "-e\n-f", "`id`"} {
		wantProblem(t, admission.CheckPsArguments(args), problem.ErrDenied, "")
	}
}

// FuzzMatch: whatever matches can be put together again to a path that is
// clean, needs no escaping and is a row of the table.
func FuzzMatch(f *testing.F) {
	f.Add("GET", "/v1.41/containers/web/json", "size=1")
	f.Add("GET", "/v1.41", "")
	f.Add("POST", "/v1.40%2fcontainers%2fcreate", "name=a;b")
	f.Add("GET", "/images/ghcr.io/a/b:1/json", "manifests=1")
	f.Add("GET", "/networks/x", "")
	table := admission.NewTable()
	f.Fuzz(func(t *testing.T, method, target, query string) {
		m, err := table.Match(method, target, query)
		if err != nil {
			return
		}
		rebuilt := strings.NewReplacer("{id}", m.Param, "{image}", m.Param).Replace(m.Pattern)
		if path.Clean(rebuilt) != rebuilt || (&url.URL{Path: rebuilt}).EscapedPath() != rebuilt || strings.ContainsAny(rebuilt, "?#") {
			t.Fatalf("%q became %q", target, rebuilt)
		}
		if m.Version != "" && !strings.HasPrefix(target, "/v"+m.Version+"/") {
			t.Fatalf("%q has version %q", target, m.Version)
		}
		if strings.TrimPrefix(target, "/v"+m.Version) != rebuilt {
			t.Fatalf("%q became %q", target, rebuilt)
		}
		for key, values := range m.Query {
			if len(values) != 1 && key != "changes" && key != "names" || !slices.Contains(m.Route.Query, key) {
				t.Fatalf("query %v on %s", m.Query, m.Pattern)
			}
		}
	})
}

func TestFieldsOfTheBodyInTheQueryAreDropped(t *testing.T) {
	for path, query := range map[string]string{
		"/containers/create": "name=web&Image=x&Cmd=a&Cmd=b&HostConfig=%7B%22Privileged%22%3Atrue%7D",
		"/networks/create":   "Name=net&Options=%7B%7D",
		"/volumes/create":    "Name=data&DriverOpts=%7B%22device%22%3A%22%2F%22%7D",
	} {
		m, err := admission.NewTable().Match("POST", path, query)
		if err != nil {
			t.Error(path, err)
		}
		m.Query.Del("name")
		if len(m.Query) > 0 {
			t.Errorf("%s goes on with %v", path, m.Query)
		}
	}
}
