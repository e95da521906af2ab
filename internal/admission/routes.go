package admission

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

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
	Query   url.Values // one value per key, but for lists; allowed keys only
}

var (
	versionPrefix = regexp.MustCompile(`^v(1\.[0-9]{2})$`)
	validID       = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	validImage    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:@-]*(/[a-zA-Z0-9][a-zA-Z0-9_.:@-]*)*$`)
)

// Match finds the route of a request by its method, its path as it was sent
// and its raw query. A path or query that isn't a row of the table, or whose
// row says so, is an error of kind problem.ErrDenied; one that isn't well
// formed, problem.ErrInvalid.
func (t *Table) Match(method, path, rawQuery string) (Match, error) {
	if strings.Contains(path, "\\") || !strings.HasPrefix(path, "/") || len(path) > 2048 {
		return Match{}, unreadable(method, path)
	}
	segments := strings.Split(path[1:], "/")
	var m Match
	if v := versionPrefix.FindStringSubmatch(segments[0]); v != nil {
		m.Version, segments = v[1], segments[1:]
	}
	if slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return Match{}, unreadable(method, path)
	}
	row, param, ok := t.find(method, segments, isName)
	if !ok {
		if err := t.misnamed(method, segments); err != nil {
			return Match{}, err
		}
	}
	switch {
	case strings.Contains(path, "%"):
		return Match{}, unreadable(method, path)
	case !ok && asksForAnother(method, segments):
		return Match{}, refuse(problem.ErrNotFound, "No such object: "+strings.Join(segments[1:], "/"), "only an image is called like that", "")
	case !ok:
		return Match{}, denied(unserved(method, path), "this is no part of the Docker API that ds01 knows",
			"docs/admins/docker-api.md lists all of it; ask your administrators if you need more.")
	case row.How == Absent:
		return Match{}, refuse(problem.ErrNotFound, "No such object: "+param, row.Why, "")
	case row.How == Refused:
		return Match{}, denied(unserved(method, path), row.Why, "docs/admins/docker-api.md lists what is served.")
	}
	m.Route, m.Param = row, param
	query, err := row.readQuery(rawQuery)
	m.Query = query
	return m, err
}

func unreadable(method, path string) error {
	return invalid(unserved(method, path), "the path is not one that Docker clients write")
}

// misnamed refuses what clients write for a name that nothing can have, encoded
// where it has to be; nil where the path is no route's but for the name.
func (t *Table) misnamed(method string, segments []string) error {
	if asksForAnother(method, segments) {
		return nil
	}
	row, name, ok := t.find(method, segments, func(string, string) bool { return true })
	if !ok || row.How == Refused || row.How == Absent {
		return nil
	}
	kind := problem.ErrDenied
	if plain, err := url.PathUnescape(name); err != nil || plain != name {
		kind, name = problem.ErrInvalid, plain
	}
	next := "Look the name up: docker ps -a, docker network ls and docker volume ls list them, with IDs."
	if takesSlashes(segments[0]) {
		next = "Take an image that has no name by its ID: docker images -a."
	}
	return refuse(kind, "No such object: "+strconv.Quote(name), "names are of letters, digits and - . _, those of images also of / : @", next)
}

// asksForAnother reports whether a client looks for something by the name of an
// image: docker inspect tries every kind, and goes on after a 404 only.
func asksForAnother(method string, segments []string) bool {
	last := len(segments) - 1
	if method != "GET" || last < 1 {
		return false
	}
	if slices.Contains([]string{"containers", "plugins"}, segments[0]) {
		if segments[last] != "json" {
			return false
		}
		last--
	} else if !slices.Contains([]string{"networks", "volumes", "services", "tasks", "nodes", "secrets", "configs"}, segments[0]) {
		return false
	}
	reference := strings.Join(segments[1:last+1], "/")
	return validImage.MatchString(reference) && strings.ContainsAny(reference, ":/@")
}

func unserved(method, path string) string { return method + " " + strconv.Quote(path) + " refused" }

// isName reports whether what stands in the place of {id} or {image} can be one.
func isName(place, got string) bool {
	return place == "{id}" && validID.MatchString(got) || place == "{image}" && validImage.MatchString(got)
}

// find returns the row of a path, in whose places names stand.
func (t *Table) find(method string, segments []string, name func(place, got string) bool) (Route, string, bool) {
	for _, r := range t.byLength[len(segments)] {
		if param, ok := r.fits(method, segments, name); ok {
			return r.Route, param, true
		}
	}
	if len(segments) < 2 || !takesSlashes(segments[0]) {
		return Route{}, "", false
	}
	// A reference may hold slashes, and a verb may follow it.
	for verbs := range min(2, len(segments)-2) {
		n := len(segments) - verbs
		joined := append([]string{segments[0], strings.Join(segments[1:n], "/")}, segments[n:]...)
		for _, r := range t.byLength[len(joined)] {
			if param, ok := r.fits(method, joined, name); ok && slices.Contains(r.segments, "{image}") {
				return r.Route, param, true
			}
		}
	}
	return Route{}, "", false
}

// takesSlashes reports whether what follows is the reference of an image.
func takesSlashes(first string) bool { return first == "images" || first == "distribution" }

func (r compiled) fits(method string, segments []string, name func(place, got string) bool) (param string, ok bool) {
	if r.Method != method {
		return "", false
	}
	for i, want := range r.segments {
		got := segments[i]
		switch {
		case strings.HasPrefix(want, "{") && name(want, got):
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
		if !slices.Contains(r.Query, key) && r.echoes(key) {
			delete(query, key)
			continue
		}
		if len(values) > 1 && !r.repeats(key) {
			return nil, invalid(what, "query parameter "+strconv.Quote(key)+" is given twice")
		}
		if !slices.Contains(r.Query, key) && strings.Join(values, "") != "" {
			return nil, denied(what, "query parameter "+strconv.Quote(key)+" is not served", "Leave the option away.")
		}
		if !slices.Contains(r.Query, key) {
			delete(query, key)
		}
	}
	return query, nil
}

// echoes reports whether a query key is a field of the route's body: dockerode
// writes those into the query too. Nobody reads them there, and they don't go on.
func (r Route) echoes(key string) bool {
	var body reflect.Type
	switch r.Op {
	case ContainerCreate:
		body = reflect.TypeFor[Create]()
	case NetworkCreate:
		body = reflect.TypeFor[NetworkBody]()
	case VolumeCreate:
		body = reflect.TypeFor[VolumeBody]()
	default:
		return false
	}
	for field := range body.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name == key {
			return true
		}
	}
	return false
}

// repeats tells which parameters clients give several times, as one list.
func (r Route) repeats(key string) bool {
	return key == "changes" || key == "names" || key == "t" && r.Op == ImageBuild
}

var psArguments = regexp.MustCompile(`^[a-zA-Z0-9 ,=:-]*$`)

// CheckPsArguments refuses arguments of top that ps could take for files.
func CheckPsArguments(args string) error {
	if !psArguments.MatchString(args) {
		return refuse(problem.ErrDenied, "Processes not listed", "ps arguments "+strconv.Quote(args)+" are not served", "Use plain options such as -ef or -o pid,cmd.")
	}
	return nil
}
