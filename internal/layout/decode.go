package layout

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

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// Decode reads a layout file. Everything wrong with it is reported together,
// each with file and line, in an error that wraps problem.ErrInvalid.
func Decode(name string, data []byte) (*File, error) {
	d := &decoder{file: &File{name: name}}
	if root := d.parse(data); root != nil && d.plain(root) {
		d.document(root)
	}
	if len(d.wrong) > 0 {
		slices.SortStableFunc(d.wrong, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
		texts := make([]string, len(d.wrong))
		for i, f := range d.wrong {
			texts[i] = fmt.Sprintf("%s:%d: %s", name, f.line, f.text)
		}
		return nil, &problem.Error{
			What: "MIG layout file not read", Why: problem.Because(problem.ErrInvalid, strings.Join(texts, "\n")),
			Next: "Correct the file; 'ds01 gpu mig export' writes one to begin with.",
		}
	}
	return d.file, nil
}

type decoder struct {
	file  *File
	wrong []fault
}

type fault struct {
	line int
	text string
}

func (d *decoder) fail(line int, format string, args ...any) {
	d.wrong = append(d.wrong, fault{line, fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// parse returns the one document in data, nil if there is none.
func (d *decoder) parse(data []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	err := in.Decode(&root)
	if errors.Is(err, io.EOF) {
		d.fail(1, "the file is empty")
		return nil
	}
	if err == nil {
		if err = in.Decode(&more); errors.Is(err, io.EOF) {
			return root.Content[0]
		}
		if err == nil {
			d.fail(more.Line, "a second YAML document: write everything into one")
			return nil
		}
	}
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1]) // digits, by the expression
	}
	d.fail(line, "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
	return nil
}

// plain refuses anchors, aliases, merge keys and tags, by which a few lines
// become many or something other than they look.
func (d *decoder) plain(n *yaml.Node) bool {
	ok := n.Kind != yaml.AliasNode && n.Anchor == "" && n.Tag != "!!merge" && n.Style&yaml.TaggedStyle == 0
	if !ok {
		d.fail(n.Line, "anchors, aliases, merge keys and tags are not read: write the values out")
	}
	for _, c := range n.Content {
		ok = d.plain(c) && ok
	}
	return ok
}

// mapping returns the values of n by their keys, and the keys in order. A key
// outside allowed is an error, unless allowed is nil.
func (d *decoder) mapping(n *yaml.Node, where string, allowed ...string) (values map[string]*yaml.Node, keys []*yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, "%s must hold 'key: value' lines", where)
		return nil, nil
	}
	values = map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch _, twice := values[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			d.fail(key.Line, "%s has a key that is not a name", where)
		case twice:
			d.fail(key.Line, "%s repeats %s: keep one", where, key.Value)
		case allowed != nil && !slices.Contains(allowed, key.Value):
			d.fail(key.Line, "unknown key %q in %s; it has %s", key.Value, where, strings.Join(allowed, ", "))
		default:
			values[key.Value] = value
			keys = append(keys, key)
		}
	}
	return values, keys
}

// need returns the value of a key that must be there.
func (d *decoder) need(n *yaml.Node, values map[string]*yaml.Node, where, key string) *yaml.Node {
	v := values[key]
	if v == nil && values != nil {
		d.fail(n.Line, "%s is missing in %s", key, where)
	}
	return v
}

func (d *decoder) document(root *yaml.Node) {
	values, _ := d.mapping(root, "the file", "version", "mig-configs")
	if v := d.need(root, values, "the file", "version"); v != nil && v.Value != "v1" {
		d.fail(v.Line, "version is %q; this ds01 reads v1", v.Value)
	}
	configs := d.need(root, values, "the file", "mig-configs")
	if configs == nil {
		return
	}
	parts, names := d.mapping(configs, "mig-configs")
	if values != nil && len(names) == 0 && configs.Kind == yaml.MappingNode {
		d.fail(configs.Line, "mig-configs has no configuration")
	}
	for _, name := range names {
		d.file.configs = append(d.file.configs, d.config(name, parts[name.Value]))
	}
}

func (d *decoder) config(name, n *yaml.Node) config {
	c := config{name: name.Value}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.fail(n.Line, "%s must be a list of '- devices: …' parts", name.Value)
		return c
	}
	for _, one := range n.Content {
		values, _ := d.mapping(one, name.Value, "device-filter", "devices", "mig-enabled", "mig-devices")
		if values == nil {
			continue
		}
		if filter := values["device-filter"]; filter != nil && c.filter == 0 {
			c.filter = filter.Line
		}
		c.layout = append(c.layout, d.cut(one, values, name.Value))
	}
	return c
}

func (d *decoder) cut(n *yaml.Node, values map[string]*yaml.Node, where string) gpu.Cut {
	cut := gpu.Cut{Source: fmt.Sprintf("%s:%d", d.file.name, n.Line)}
	if devices := d.need(n, values, where, "devices"); devices != nil {
		cut.All, cut.Cards = d.devices(devices)
	}
	if enabled := d.need(n, values, where, "mig-enabled"); enabled != nil {
		if enabled.Kind != yaml.ScalarNode || enabled.Decode(&cut.MIG) != nil {
			d.fail(enabled.Line, "mig-enabled must be true or false")
		}
	}
	instances := values["mig-devices"]
	if instances == nil {
		return cut
	}
	cut.Instances = d.instances(instances)
	if !cut.MIG && len(cut.Instances) > 0 {
		d.fail(instances.Line, "mig-devices with mig-enabled: false: a whole card has none")
	}
	return cut
}

// devices reads all, or a list of the cards' indexes.
func (d *decoder) devices(n *yaml.Node) (all bool, cards []int) {
	if n.Kind == yaml.ScalarNode && n.Value == "all" {
		return true, nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.fail(n.Line, "devices must be all, or a list of cards such as [0, 1]")
		return false, nil
	}
	for _, one := range n.Content {
		index, err := strconv.Atoi(one.Value)
		if err != nil || index < 0 || one.Kind != yaml.ScalarNode {
			d.fail(one.Line, "devices: %q is not the number of a card", one.Value)
			continue
		}
		cards = append(cards, index)
	}
	return false, cards
}

// mostInstances is more than any card holds.
const mostInstances = 64

// instances reads how many there are to be of each profile; none of one is the
// same as to leave it out.
func (d *decoder) instances(n *yaml.Node) map[string]int {
	values, keys := d.mapping(n, "mig-devices")
	all := map[string]int{}
	for _, key := range keys {
		v := values[key.Value]
		count, err := strconv.Atoi(v.Value)
		if err != nil || count < 0 || count > mostInstances || v.Kind != yaml.ScalarNode {
			d.fail(v.Line, "mig-devices: %s: %q is not a number of instances", key.Value, v.Value)
			continue
		}
		if count > 0 {
			all[key.Value] = count
		}
	}
	return all
}
