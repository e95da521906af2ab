package limits

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A ruleDecoder reads what one rule says: defaults, a group or an override.
type ruleDecoder struct {
	*decoder
	rule  string // "groups.student"
	layer layer
}

// noOther is for rules that hold nothing but limits.
func (*decoder) noOther(_, _ *yaml.Node) bool { return false }

// rule reads a rule's limits. other reads the rule's further keys, which
// others names, and reports whether a key was one.
func (d *decoder) rule(n *yaml.Node, name string, other func(key, value *yaml.Node) bool, others ...string) layer {
	r := &ruleDecoder{decoder: d, rule: name}
	d.mapping(n, name, func(key, value *yaml.Node) {
		switch {
		case other(key, value):
		case key.Value != "policies" && slices.Contains(scopes(), key.Value) && isNull(value):
			for i, k := range d.doc.keys {
				if strings.HasPrefix(k.name, key.Value+".") {
					r.layer[i] = setting{set: true, unlimited: true, source: r.source(key)}
				}
			}
		case slices.Contains(scopes(), key.Value):
			scope := key.Value + "."
			d.mapping(value, name+"."+key.Value, func(key, value *yaml.Node) {
				if !r.limit(scope, key, value) {
					d.unknown(key, r.rule+"."+strings.TrimSuffix(scope, "."), d.allowed(scope))
				}
			})
		case !r.limit("", key, value):
			d.unknown(key, name, append(d.allowed(""), others...))
		}
	})
	r.swap(n)
	r.layer.follow()
	return r.layer
}

// swap refuses memory_swap below memory where one rule says both.
func (r *ruleDecoder) swap(n *yaml.Node) {
	if m, s := &r.layer[memory], &r.layer[memorySwap]; m.set && s.set && m.above(s) {
		r.fail(max(n.Line, s.source.Line), "%s: memory_swap (%s) counts memory and swap together, so it can't be below memory (%s)",
			r.rule, s.describe(size), m.describe(size))
	}
}

// scopes are the keys of a rule that hold further ones.
func scopes() []string { return []string{"aggregate", "keep", "without_gpu", "policies"} }

// allowed lists the keys of a scope: "" for a rule itself, else one of scopes and
// a point.
func (d *decoder) allowed(scope string) []string {
	var names []string
	for _, k := range d.doc.keys {
		if name, ok := strings.CutPrefix(k.name, scope); ok && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	if scope == "" {
		names = append(names, scopes()...)
	}
	return names
}

// find returns the place of a key in the table, or -1.
func (d *decoder) find(name string) keyID {
	for i, k := range d.doc.keys {
		if k.name == name {
			return keyID(i)
		}
	}
	return -1
}

// path names a key of this rule as people find it in the file.
func (r *ruleDecoder) path(name string) string {
	if strings.HasPrefix(name, r.rule+".") { // the policies of all
		return name
	}
	return r.rule + "." + name
}

func (r *ruleDecoder) source(key *yaml.Node) Source {
	return Source{Rule: r.rule, File: r.file, Line: key.Line}
}

// limit reads one limit by its name of today or an older one, and reports
// whether there is such a key.
func (r *ruleDecoder) limit(scope string, key, value *yaml.Node) bool {
	if strings.Contains(key.Value, ".") { // "aggregate.cpus" is a section and a key
		return false
	}
	if id := r.find(scope + key.Value); id >= 0 {
		r.set(id, key, value, r.doc.keys[id].kind.parse)
		return true
	}
	for _, h := range historicLimits() {
		if h.name == scope+key.Value {
			r.old(h, key, value)
			return true
		}
	}
	return r.unitInName(scope, strings.TrimSuffix(r.rule+"."+scope, "."), key, value)
}

// old reads a historic key.
func (r *ruleDecoder) old(h historic, key, value *yaml.Node) {
	if h.as == "" {
		r.warn(key.Line, "not applied: %s.%s: %s", r.rule, h.name, h.advice)
		return
	}
	id := r.find(h.as)
	parse := h.parse
	if parse == nil {
		parse = r.doc.keys[id].kind.parse
	}
	if !h.quiet {
		r.warn(key.Line, "%s.%s is read as %s: write that", r.rule, h.name, h.as)
	}
	r.set(id, key, value, parse)
}

// unitInName warns of a key with the unit in its name, which ds01 import
// reads and this file doesn't. The key is at where; scope is as for isDuration.
func (d *decoder) unitInName(scope, where string, key, value *yaml.Node) bool {
	for _, u := range unitSuffixes() {
		name, ok := strings.CutSuffix(key.Value, u.suffix)
		if !ok {
			continue
		}
		if today, ok := replacedDurations()[scope+name]; ok {
			name = today
		} else if !d.isDuration(scope, name) {
			continue
		}
		amount := "null"
		if !isNull(value) && !duration.unlimited(value.Value) {
			amount = value.Value + u.unit
			if _, err := duration.parse(amount); err != nil {
				d.fail(value.Line, "%s.%s: %s is not a number", where, key.Value, shape(value))
			}
		}
		d.warn(key.Line, "not applied: %s.%s: write %s: %s", where, key.Value, name, amount)
		return true
	}
	return false
}

var bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// set reads a value into a key.
func (r *ruleDecoder) set(id keyID, key, value *yaml.Node, parse func(string) (int64, error)) {
	k := r.doc.keys[id]
	s, err := r.value(k, key, value, parse)
	if err != nil {
		r.fail(value.Line, "%s: %v", r.path(k.name), err)
		return
	}
	if was := &r.layer[id]; was.set && (was.n != s.n || was.unlimited != s.unlimited) {
		r.warn(key.Line, "%s is written twice, as %s and %s: the stricter applies", r.path(k.name), was.describe(k.kind), s.describe(k.kind))
		if s.above(was) {
			return
		}
	}
	r.layer[id] = s
}

func (r *ruleDecoder) value(k key, key, value *yaml.Node, parse func(string) (int64, error)) (setting, error) {
	s := setting{set: true, source: r.source(key)}
	if k.kind == rootList {
		return s, r.roots(&s, key, value)
	}
	if k.kind == hoursList {
		return s, r.calendar(&s, value)
	}
	if value.Kind != yaml.ScalarNode {
		return s, fmt.Errorf("it holds %s where one value belongs", shape(value))
	}
	text := value.Value
	if isNull(value) || k.kind.unlimited(text) {
		s.unlimited = true
		if !k.kind.boundless() {
			return s, fmt.Errorf("it can't be without limit")
		}
		return s, nil
	}
	if k.bareUnit != "" && bareNumber.MatchString(text) {
		text += k.bareUnit
		r.warn(value.Line, "%s is a bare number: write %s", r.path(k.name), text)
	}
	n, err := parse(text)
	if err == nil && n < k.min {
		err = fmt.Errorf("%q is too small: the least is %s (null is no limit)", value.Value, k.kind.format(k.min))
	}
	s.n = n
	return s, err
}
