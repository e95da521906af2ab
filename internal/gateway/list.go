package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// filterSet is the filters parameter: keys to sets of values, in either of
// the two shapes clients send.
type filterSet map[string][]string

func readFilters(text string) (filterSet, error) {
	filters := filterSet{}
	if text == "" {
		return filters, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, badFilter(err.Error())
	}
	for key, value := range raw {
		var set map[string]bool
		var list []string
		switch {
		case json.Unmarshal(value, &list) == nil:
		case json.Unmarshal(value, &set) == nil:
			for v := range set {
				list = append(list, v)
			}
		default:
			return nil, badFilter(fmt.Sprintf("the values of %q are neither a list nor a set", key))
		}
		slices.Sort(list)
		filters[key] = list
	}
	return filters, nil
}

func badFilter(why string) error {
	return &problem.Error{What: "Filter not understood", Why: problem.Because(problem.ErrInvalid, why), Next: "Write --filter key=value."}
}

// allow refuses a filter key outside keys.
func (f filterSet) allow(keys ...string) error {
	for key := range f {
		if !slices.Contains(keys, key) {
			return badFilter(fmt.Sprintf("filter %q is not served", key))
		}
	}
	return nil
}

func (f filterSet) encode() string {
	sets := map[string]map[string]bool{}
	for key, values := range f {
		sets[key] = map[string]bool{}
		for _, v := range values {
			sets[key][v] = true
		}
	}
	data, err := json.Marshal(sets)
	if err != nil {
		return "" // strings and booleans always encode
	}
	return string(data)
}

// A listing is one list on its way, used again for the next: making room for
// long ones takes as long as editing them, and most rows are what they were.
type listing struct {
	theirs, before bytes.Buffer
	ours           []byte
	by             asking             // whom ours is for
	records        []container.Record // the ledger's own, from which it has their words
	rows, were     [][]byte           // of theirs and of before
	next           int                // the first of were that may come again
}

// asking is who asks for a list, and for which.
type asking struct {
	uid            int
	admin          bool
	filters, limit string
}

// again reports whether ours is the answer still: nothing that it was made of has
// changed since.
func (l *listing) again(by asking, records []container.Record) bool {
	same := by == l.by && len(records) == len(l.records) && (len(records) == 0 || &records[0] == &l.records[0])
	l.by, l.records = by, records
	if !same || !bytes.Equal(l.theirs.Bytes(), l.before.Bytes()) {
		return false
	}
	l.theirs, l.before = l.before, l.theirs
	l.rows, l.were = l.were, l.rows
	return true
}

// begin makes room for a list, and keeps the one before.
func (l *listing) begin() {
	l.theirs, l.before = l.before, l.theirs
	l.rows, l.were, l.next = l.were[:0], l.rows, 0
	l.theirs.Reset()
}

// rowEnd returns where a row ends, -1 if it doesn't. What begins with a whole
// object has that as its first value: where a row is one of the list before,
// nothing has to be looked for.
func (l *listing) rowEnd(list []byte, i int) int {
	near := l.were[l.next:min(l.next+2, len(l.were))] // one may be gone
	var end int
	if n := slices.IndexFunc(near, func(was []byte) bool { return bytes.HasPrefix(list[i:], was) }); n >= 0 {
		end = i + len(near[n])
		l.next += n + 1
	} else {
		end = valueEnd(list, i)
	}
	if end >= 0 && list[i] == '{' {
		l.rows = append(l.rows, list[i:end])
	}
	return end
}

// A walk finds the records of a list of the engine's, which has the newest
// container first: from one to the next is shorter than to look each up.
type walk struct {
	ledger *allocator.Allocator
	left   []container.Record // the oldest first; they are the ledger's own
}

func (c *call) newestFirst() *walk { return &walk{c.Ledger, c.Ledger.Records()} }

// find returns the record of a container, nil if there is none.
func (w *walk) find(id []byte) *container.Record {
	for n := range min(2, len(w.left)) { // one may not be listed
		next := len(w.left) - 1 - n
		if r := &w.left[next]; r.ContainerID == string(id) {
			w.left = w.left[:next]
			return r
		}
	}
	r, known := w.ledger.ByContainer(string(id))
	if !known {
		return nil
	}
	next := sort.Search(len(w.left), func(i int) bool { return !w.left[i].CreatedAt.Before(r.CreatedAt) })
	w.left = w.left[:next]
	return &r
}

// list answers with the caller's containers; administrators see all.
func (c *call) list() error {
	query, names, err := c.listQuery()
	if err != nil {
		return err
	}
	if query == nil {
		return c.raw(http.StatusOK, []byte("[]\n"))
	}
	l, _ := c.lists.Get().(*listing)
	if l == nil {
		l = &listing{}
	}
	l.begin()
	if err := c.fetchInto(c.r.Context(), &l.theirs, http.MethodGet, "/containers/json", query, nil); err != nil {
		return err
	}
	records := c.newestFirst()
	if !l.again(asking{c.who.UID, c.roles.Admin, c.match.Query.Get("filters"), c.match.Query.Get("limit")}, records.left) {
		if err := c.edit(l, records, names); err != nil {
			return fmt.Errorf("edit the engine's list: %w", err)
		}
	}
	defer c.lists.Put(l) // what came only half doesn't come again
	return c.raw(http.StatusOK, l.ours)
}

// edit makes the caller's list of the engine's.
func (c *call) edit(l *listing, records *walk, names []*regexp.Regexp) (err error) {
	limit, _ := strconv.Atoi(c.match.Query.Get("limit")) // the engine, too, takes what is no number as none
	kept := 0
	l.ours, err = editElements(l.ours[:0], l.theirs.Bytes(), l.rowEnd, func(out, row []byte) ([]byte, error) {
		if limit > 0 && kept == limit {
			return out, nil
		}
		edited, err := c.show(out, row, records, names)
		if len(edited) > len(out) {
			kept++
		}
		return edited, err
	})
	return err
}

// listQuery returns the query for the engine and the name filters, which only
// we can apply: the engine knows other names. The query is nil where no
// container of the caller's can match.
func (c *call) listQuery() (url.Values, []*regexp.Regexp, error) {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return nil, nil, err
	}
	if err := filters.allow("ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network", "publish", "since", "status", "volume"); err != nil {
		return nil, nil, err
	}
	var names []*regexp.Regexp
	for _, text := range filters["name"] {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, nil, badFilter(err.Error())
		}
		names = append(names, re)
	}
	delete(filters, "name")
	for i, name := range filters["network"] {
		if n, err := c.findNetwork(name); err == nil {
			filters["network"][i] = n.ID
		}
	}
	for i, name := range filters["volume"] {
		if v, ok := c.Registrar.Volume(c.who.UID, name); ok {
			filters["volume"][i] = v.EngineName
		}
	}
	for _, key := range []string{"before", "since"} {
		for i, reference := range filters[key] {
			record, err := c.find(reference)
			if err != nil {
				return nil, nil, err
			}
			filters[key][i] = record.ContainerID
		}
	}
	for i, reference := range filters["ancestor"] {
		if filters["ancestor"][i], err = c.ancestor(reference); err != nil {
			return nil, nil, err
		}
	}
	if !c.roles.Admin {
		if filters["id"] = c.ownIDs(filters["id"]); len(filters["id"]) == 0 {
			return nil, nil, nil
		}
	}
	query := url.Values{}
	if all := c.match.Query.Get("all"); all != "" {
		query.Set("all", all)
	} else if c.match.Query.Get("limit") != "" {
		query.Set("all", "1") // the engine, too, takes a limit as a wish for all states
	}
	if len(filters) > 0 {
		query.Set("filters", filters.encode())
	}
	return query, names, nil
}

// ownIDs returns the ids of the caller's containers, those that begin with
// one of these prefixes if there are any. The engine looks ids up where it
// would go through all containers for a label.
func (c *call) ownIDs(prefixes []string) []string {
	ids := c.Ledger.ContainersOf(c.who.UID)
	if len(prefixes) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool {
			return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(id, p) })
		})
	}
	return ids
}

// show appends a row of the list in the owner's words, if our record says
// that the caller may see it and its name is wanted.
func (c *call) show(out, row []byte, records *walk, names []*regexp.Regexp) ([]byte, error) {
	id, err := member(row, "Id")
	if err != nil {
		return out, err
	}
	record := records.find(bytes.Trim(id, `"`))
	own := record != nil && record.UID == c.who.UID
	if !own && !c.roles.Admin {
		return out, nil
	}
	if len(names) > 0 {
		var shown []string
		if own {
			shown = []string{"/" + record.Name}
		} else if shown, err = namesOf(row); err != nil {
			return out, err
		}
		if !anyMatch(names, shown) {
			return out, nil
		}
	}
	if record == nil {
		return append(out, row...), nil
	}
	keys := []string{"Image"}
	if own {
		keys = append(keys, "Names", "HostConfig", "NetworkSettings", "Mounts")
	} else if len(record.Mounts) > 0 {
		keys = append(keys, "Mounts")
	}
	return editObject(out, row, keys, func(out []byte, key string, value []byte) ([]byte, error) {
		switch key {
		case "Image":
			return jsontext.AppendQuote(out, record.Image)
		case "Names":
			out, err := jsontext.AppendQuote(append(out, '['), "/"+record.Name)
			return append(out, ']'), err
		case "HostConfig", "NetworkSettings":
			return append(out, c.ownNetworkNames(value)...), nil
		}
		if own {
			value = c.ownNames(value)
		}
		return editArray(out, value, func(out, m []byte) ([]byte, error) { return showMount(out, m, *record) })
	})
}

// showMount appends a mount with the owner's path.
func showMount(out, m []byte, record container.Record) ([]byte, error) {
	return editObject(out, m, []string{"Source"}, func(out []byte, _ string, value []byte) ([]byte, error) {
		return editString(out, value, func(source string) string { return ownerPath(record, source) })
	})
}

func namesOf(row []byte) (names []string, err error) {
	value, err := member(row, "Names")
	if err != nil {
		return nil, err
	}
	return names, json.Unmarshal(value, &names)
}

// ownerPath returns the owner's path for one that ds01 mounts.
func ownerPath(record container.Record, source string) string {
	for _, m := range record.Mounts {
		if m.HostPath == source {
			return m.Source
		}
	}
	return source
}

// anyMatch matches as the engine does: with and without the slash.
func anyMatch(patterns []*regexp.Regexp, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool {
			return re.MatchString(name) || re.MatchString(name[1:])
		})
	})
}

// execOf reads what the engine tells of a command.
func execOf(data []byte) (prepared, error) {
	var exec struct {
		ContainerID   string
		ProcessConfig struct {
			Tty bool `json:"tty"`
		}
	}
	if err := json.Unmarshal(data, &exec); err != nil {
		return prepared{}, fmt.Errorf("read the engine's answer: %w", err)
	}
	return prepared{exec.ContainerID, exec.ProcessConfig.Tty}, nil
}
