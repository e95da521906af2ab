package admission

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// An Op names what a route does, for whoever serves it.
type Op string

// Operations of the Docker API that are served.
const (
	Ping             Op = "ping"
	Version          Op = "version"
	Info             Op = "info"
	ImagePull        Op = "image pull"
	ImageList        Op = "image list"
	ImageInspect     Op = "image inspect"
	ContainerList    Op = "container list"
	ContainerCreate  Op = "container create"
	ContainerInspect Op = "container inspect"
	ContainerTop     Op = "container top"
	ContainerLogs    Op = "container logs"
	ContainerStats   Op = "container stats"
	ContainerStart   Op = "container start"
	ContainerStop    Op = "container stop"
	ContainerRestart Op = "container restart"
	ContainerKill    Op = "container kill"
	ContainerWait    Op = "container wait"
	ContainerResize  Op = "container resize"
	ContainerAttach  Op = "container attach"
	ContainerRemove  Op = "container remove"
	ExecCreate       Op = "exec create"
	ExecStart        Op = "exec start"
	ExecResize       Op = "exec resize"
	ExecInspect      Op = "exec inspect"
	Events           Op = "events"
)

// A Route is one row of the Docker API: what isn't a row is refused.
type Route struct {
	Method  string
	Pattern string   // {id} is a container or exec, {image} a reference with slashes
	Op      Op       // what serves it
	Query   []string // query keys that go on; another key is refused
	Body    bool     // the request has a JSON body
}

// Routes returns the table of served routes.
func Routes() []Route {
	return []Route{
		{"GET", "/_ping", Ping, nil, false},
		{"HEAD", "/_ping", Ping, nil, false},
		{"GET", "/version", Version, nil, false},
		{"GET", "/info", Info, nil, false},
		{"GET", "/events", Events, []string{"since", "until", "filters"}, false},
		{"POST", "/images/create", ImagePull, []string{"fromImage", "tag", "platform"}, false},
		{"GET", "/images/json", ImageList, []string{"all", "filters", "digests", "shared-size", "manifests"}, false},
		{"GET", "/images/{image}/json", ImageInspect, []string{"manifests", "platform"}, false},
		{"GET", "/containers/json", ContainerList, []string{"all", "limit", "size", "filters"}, false},
		{"POST", "/containers/create", ContainerCreate, []string{"name", "platform"}, true},
		{"GET", "/containers/{id}/json", ContainerInspect, []string{"size"}, false},
		{"GET", "/containers/{id}/top", ContainerTop, []string{"ps_args"}, false},
		{"GET", "/containers/{id}/logs", ContainerLogs, []string{"follow", "stdout", "stderr", "since", "until", "timestamps", "tail", "details"}, false},
		{"GET", "/containers/{id}/stats", ContainerStats, []string{"stream", "one-shot"}, false},
		{"POST", "/containers/{id}/start", ContainerStart, []string{"detachKeys"}, false},
		{"POST", "/containers/{id}/stop", ContainerStop, []string{"t", "signal"}, false},
		{"POST", "/containers/{id}/restart", ContainerRestart, []string{"t", "signal"}, false},
		{"POST", "/containers/{id}/kill", ContainerKill, []string{"signal"}, false},
		{"POST", "/containers/{id}/wait", ContainerWait, []string{"condition"}, false},
		{"POST", "/containers/{id}/resize", ContainerResize, []string{"h", "w"}, false},
		{"POST", "/containers/{id}/attach", ContainerAttach, []string{"detachKeys", "logs", "stream", "stdin", "stdout", "stderr"}, false},
		{"DELETE", "/containers/{id}", ContainerRemove, []string{"v", "force", "link"}, false},
		{"POST", "/containers/{id}/exec", ExecCreate, nil, true},
		{"POST", "/exec/{id}/start", ExecStart, nil, true},
		{"POST", "/exec/{id}/resize", ExecResize, []string{"h", "w"}, false},
		{"GET", "/exec/{id}/json", ExecInspect, nil, false},
	}
}

// A Table answers which route a request takes. It is immutable.
type Table struct {
	byLength map[int][]compiled
}

type compiled struct {
	Route
	segments []string
}

// NewTable compiles Routes.
func NewTable() *Table {
	t := &Table{byLength: map[int][]compiled{}}
	for _, r := range Routes() {
		segments := strings.Split(r.Pattern[1:], "/")
		t.byLength[len(segments)] = append(t.byLength[len(segments)], compiled{r, segments})
	}
	return t
}

// A Match is a request on its route, in parts that are safe to send on.
type Match struct {
	Route
	Version string     // "1.41", "" when the path names none
	Param   string     // {id} or {image}, ""  where the route has none
	Query   url.Values // one value per key, allowed keys only
}

var (
	versionPrefix = regexp.MustCompile(`^v(1\.[0-9]{2})$`)
	validID       = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	validImage    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:@-]*(/[a-zA-Z0-9][a-zA-Z0-9_.:@-]*)*$`)
)

// Match finds the route of a request by its method, its path as it was sent
// and its raw query. A path or query that isn't a row of the table is an
// error of kind problem.ErrDenied; one that isn't well formed,
// problem.ErrInvalid.
func (t *Table) Match(method, path, rawQuery string) (Match, error) {
	if strings.ContainsAny(path, "%\\") || !strings.HasPrefix(path, "/") || len(path) > 2048 {
		return Match{}, invalid(unserved(method, path), "the path is not one that Docker clients write")
	}
	segments := strings.Split(path[1:], "/")
	var m Match
	if v := versionPrefix.FindStringSubmatch(segments[0]); v != nil {
		m.Version, segments = v[1], segments[1:]
	}
	if slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return Match{}, invalid(unserved(method, path), "the path is not one that Docker clients write")
	}
	row, param, ok := t.find(method, segments)
	if !ok && method == "GET" && looksUp(segments) {
		return Match{}, refuse(problem.ErrNotFound, "No such object: "+segments[1], "there are no "+segments[0]+" here", "")
	}
	if !ok {
		return Match{}, denied(unserved(method, path), "this part of the Docker API is not served here",
			"docs/admins/docker-api.md lists what is; ask your administrators if you need more.")
	}
	m.Route, m.Param = row, param
	query, err := row.readQuery(rawQuery)
	m.Query = query
	return m, err
}

// looksUp reports whether a path names one object of a kind that nobody has
// here. "docker inspect NAME" asks for each kind in turn, and goes on, and
// ends well, only where there is none.
func looksUp(segments []string) bool {
	kinds := []string{"networks", "volumes", "services", "tasks", "nodes", "plugins", "secrets"}
	named := len(segments) == 2 || len(segments) == 3 && segments[0] == "plugins" && segments[2] == "json"
	return named && slices.Contains(kinds, segments[0]) && validID.MatchString(segments[1])
}

func unserved(method, path string) string { return method + " " + strconv.Quote(path) + " refused" }

func (t *Table) find(method string, segments []string) (Route, string, bool) {
	for _, r := range t.byLength[len(segments)] {
		if param, ok := r.fits(method, segments); ok {
			return r.Route, param, true
		}
	}
	// An image's reference may hold slashes.
	if n := len(segments); n > 3 && segments[0] == "images" {
		joined := []string{"images", strings.Join(segments[1:n-1], "/"), segments[n-1]}
		for _, r := range t.byLength[3] {
			if param, ok := r.fits(method, joined); ok {
				return r.Route, param, true
			}
		}
	}
	return Route{}, "", false
}

func (r compiled) fits(method string, segments []string) (param string, ok bool) {
	if r.Method != method {
		return "", false
	}
	for i, want := range r.segments {
		got := segments[i]
		switch {
		case want == "{id}" && validID.MatchString(got), want == "{image}" && validImage.MatchString(got):
			param = got
		case want != got:
			return "", false
		}
	}
	return param, true
}

func (r Route) readQuery(raw string) (url.Values, error) {
	what := r.Method + " " + r.Pattern + " refused"
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalid(what, err.Error())
	}
	for key, values := range query {
		if len(values) > 1 {
			return nil, invalid(what, "query parameter "+strconv.Quote(key)+" is given twice")
		}
		if !slices.Contains(r.Query, key) && values[0] != "" {
			return nil, denied(what, "query parameter "+strconv.Quote(key)+" is not served", "Leave the option away.")
		}
		if !slices.Contains(r.Query, key) {
			delete(query, key)
		}
	}
	return query, nil
}

var psArguments = regexp.MustCompile(`^[a-zA-Z0-9 ,=:-]*$`)

// CheckPsArguments refuses arguments of top that ps could take for files.
func CheckPsArguments(args string) error {
	if !psArguments.MatchString(args) {
		return refuse(problem.ErrDenied, "Processes not listed", "ps arguments "+strconv.Quote(args)+" are not served", "Use plain options such as -ef or -o pid,cmd.")
	}
	return nil
}
