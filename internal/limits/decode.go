package limits

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"ds01.dev/ds01/internal/problem"
)

// A File is a file's name, as messages give it, and its content.
type File struct {
	Name string
	Data []byte
}

// A Warning is something in a file that is accepted and should be changed.
// Where a value is ignored, its text starts with "not applied".
type Warning struct {
	File string
	Line int // 1-based
	Text string
}

// String returns "FILE:LINE: TEXT".
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// Decode reads the limits file and the members file of each group, by the
// group's name. Everything wrong with them is reported together, each with
// file and line, in an error that wraps problem.ErrInvalid; the document is
// nil then. An empty file is a valid one: everything built in applies.
//
// Historic keys are read as what replaced them, or not applied, with a
// warning. A null (or never, indefinite, unlimited) means no limit. Of two
// spellings of one key in one place the stricter value applies.
func Decode(main File, members map[string]File) (*Document, []Warning, error) {
	d := &decoder{file: main.Name, doc: &Document{
		keys: table(), byName: map[string]int{}, memberOf: map[string][]int{}, overrides: map[string]override{}, types: map[string]Type{}, fallback: -1,
	}}
	if root := d.parse(main.Data); root != nil && d.plain(root) {
		d.document(root)
	}
	d.membersFiles(members)
	slices.SortStableFunc(d.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if err := d.err(); err != nil {
		return nil, d.warnings, err
	}
	d.doc.finish()
	return d.doc, d.warnings, nil
}

// A decoder reads one limits file with its members files.
type decoder struct {
	file     string // being read
	doc      *Document
	warnings []Warning
	wrong    []Warning
}

func (d *decoder) warn(line int, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{d.file, line, fmt.Sprintf(format, args...)})
}

func (d *decoder) fail(line int, format string, args ...any) {
	d.wrong = append(d.wrong, Warning{d.file, line, fmt.Sprintf(format, args...)})
}

// err joins what is wrong, in the order of the files' lines.
func (d *decoder) err() error {
	slices.SortStableFunc(d.wrong, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	errs := make([]error, len(d.wrong))
	for i, w := range d.wrong {
		errs[i] = problem.Because(problem.ErrInvalid, w.String())
	}
	return errors.Join(errs...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// parse returns the one document in data, or nil if there is none or it isn't
// YAML.
func (d *decoder) parse(data []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	err := in.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = in.Decode(&more); err == nil {
			d.fail(more.Line, "a second YAML document: write everything into one")
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		return root.Content[0]
	}
	m := yamlLine.FindStringSubmatch(err.Error())
	line := 1
	if m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1]) // digits, by the expression
	}
	d.fail(line, "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
	return nil
}

// plain refuses anchors, aliases, merge keys and custom tags, by which a few
// lines become many or something other than they look.
func (d *decoder) plain(n *yaml.Node) bool {
	ok := true
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge":
		d.fail(n.Line, "anchors, aliases and merge keys are not read: write the values out")
		ok = false
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n.Line, "the tag %s is not read: leave it out", n.Tag)
		ok = false
	}
	for _, c := range n.Content {
		ok = d.plain(c) && ok
	}
	return ok
}

// mapping calls each for every key of n in order. Nothing is there for null;
// what isn't a mapping, and a repeated key, is an error.
func (d *decoder) mapping(n *yaml.Node, where string, each func(key, value *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, "%s holds %s where 'key: value' lines belong", where, shape(n))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first, seen := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			d.fail(key.Line, "%s has a key that is not a name", where)
		case seen:
			d.fail(key.Line, "%s repeats %s of line %d: keep one", where, key.Value, first)
		default:
			lines[key.Value] = key.Line
			each(key, value)
		}
	}
}

// list calls each for every entry of n, which must be a list of scalars or
// null.
func (d *decoder) list(n *yaml.Node, where string, each func(entry *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(n.Line, "%s holds %s where a list belongs, such as [a, b]", where, shape(n))
		return
	}
	for _, entry := range n.Content {
		if entry.Kind != yaml.ScalarNode || isNull(entry) || entry.Value == "" {
			d.fail(entry.Line, "%s lists %s where a name belongs", where, shape(entry))
			continue
		}
		each(entry)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// shape names what a node is, for messages.
func shape(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "'key: value' lines"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Value == "":
		return "nothing"
	default:
		return strconv.Quote(n.Value)
	}
}

// unknown reports a key that place doesn't have.
func (d *decoder) unknown(key *yaml.Node, place string, allowed []string) {
	if near := nearest(key.Value, allowed); near != "" {
		d.fail(key.Line, "unknown key %q in %s: did you mean %s?", key.Value, place, near)
		return
	}
	d.fail(key.Line, "unknown key %q in %s; it has %s", key.Value, place, strings.Join(allowed, ", "))
}
