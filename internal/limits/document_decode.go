package limits

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// document reads the top level.
func (d *decoder) document(root *yaml.Node) {
	var defaultGroup *yaml.Node
	var policies layer
	d.mapping(root, "the file", func(key, value *yaml.Node) {
		switch key.Value {
		case "defaults":
			d.doc.defaults.said = d.rule(value, "defaults", d.noOther)
		case "default_group":
			defaultGroup = value
		case "groups":
			d.mapping(value, "groups", d.group)
		case "user_overrides":
			d.mapping(value, "user_overrides", d.override)
		case "policies":
			policies = d.policies(value)
		default:
			d.section(key, value)
		}
	})
	policies.lay(&d.doc.defaults.said) // what defaults say themselves is closer to the person
	d.doc.defaults.said = policies
	d.defaultGroup(defaultGroup)
}

// usualGroup is the default group where the file names none.
const usualGroup = "student"

func (d *decoder) defaultGroup(n *yaml.Node) {
	name := usualGroup
	if n != nil && !isNull(n) {
		name = n.Value
	}
	place, ok := d.doc.byName[name]
	switch {
	case ok:
		d.doc.fallback = place
	case n != nil && !isNull(n):
		d.fail(n.Line, "default_group is %s, which groups doesn't have (%s)", shape(n), strings.Join(d.doc.GroupsInOrder(), ", "))
	}
}

// group reads one entry of groups.
func (d *decoder) group(key, value *yaml.Node) {
	if !isName(key.Value) {
		d.fail(key.Line, "%q can't be a group's name", key.Value)
		return
	}
	place := len(d.doc.groups)
	d.doc.byName[key.Value] = place
	d.doc.groups = append(d.doc.groups, group{name: key.Value})
	said := d.rule(value, "groups."+key.Value, func(k, v *yaml.Node) bool {
		if k.Value == "members" {
			d.list(v, "groups."+key.Value+".members", func(entry *yaml.Node) { d.member(entry.Value, place, entry.Line) })
		}
		return k.Value == "members"
	}, "members")
	d.doc.groups[place].said = said
}

// member puts a login name into a group.
func (d *decoder) member(name string, place, line int) {
	if !isName(name) || strings.ContainsFunc(name, unicode.IsSpace) {
		d.fail(line, "%q is not a login name", name)
		return
	}
	if in := d.doc.memberOf[name]; !slices.Contains(in, place) {
		d.doc.memberOf[name] = append(in, place)
	}
}

// isName reports whether s can name a user or a group.
func isName(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsAny(s, ":/\ufffd") && !strings.ContainsFunc(s, unicode.IsControl)
}

// membersFiles reads the members files, in the order of their groups.
func (d *decoder) membersFiles(members map[string]File) {
	for _, name := range d.doc.GroupsInOrder() {
		file, ok := members[name]
		if !ok {
			continue
		}
		d.file = file.Name
		for i, line := range strings.Split(strings.TrimPrefix(string(file.Data), "\ufeff"), "\n") {
			text, _, _ := strings.Cut(line, "#")
			if text = strings.TrimSpace(text); text != "" {
				d.member(text, d.doc.byName[name], i+1)
			}
		}
	}
	for name, file := range members {
		if _, ok := d.doc.byName[name]; !ok {
			d.file = file.Name
			d.warn(1, "not applied: the limits file has no group %q", name)
		}
	}
}

// override reads one entry of user_overrides.
func (d *decoder) override(key, value *yaml.Node) {
	if !isName(key.Value) {
		d.fail(key.Line, "%q can't be a login name", key.Value)
		return
	}
	var o override
	r := Reservation{Login: key.Value, Source: Source{Rule: "user_overrides." + key.Value, File: d.file, Line: key.Line}}
	first := 0
	o.layer = d.rule(value, "user_overrides."+key.Value, func(k, v *yaml.Node) bool {
		where := "user_overrides." + key.Value + "." + k.Value
		switch k.Value {
		case "reason":
			if d.scalar(v, where) {
				r.Reason = v.Value
			}
		case "expires":
			o.expires = d.date(v, where)
		case "reservation_start":
			r.From, first = d.dayOrMoment(v, where), k.Line
		case "reservation_end":
			r.Until, first = d.date(v, where), k.Line
		case "reserved_gpus":
			d.list(v, where, func(n *yaml.Node) { r.Devices = append(r.Devices, n.Value) })
			r.Source.Line = k.Line
		default:
			return false
		}
		return true
	}, "reason", "reservation_start", "reservation_end", "reserved_gpus", "expires")
	if !r.Until.IsZero() && !r.From.Before(r.Until) {
		d.fail(key.Line, "user_overrides.%s: reservation_end is not after reservation_start", key.Value)
	}
	switch {
	case len(r.Devices) > 0:
		d.doc.reserved = append(d.doc.reserved, r)
	case first > 0:
		d.warn(first, "not applied: user_overrides.%s reserves from or until a time, but no reserved_gpus", key.Value)
	}
	d.doc.overrides[key.Value] = o
}

// dayOrMoment is date, but a day alone means its beginning.
func (d *decoder) dayOrMoment(n *yaml.Node, where string) time.Time {
	if t, err := time.Parse(time.DateOnly, n.Value); err == nil {
		return t
	}
	return d.date(n, where)
}

// date reads a day or a moment, in UTC unless it names a zone. A day alone
// means its end: what expires on a day holds all that day. null is never.
func (d *decoder) date(n *yaml.Node, where string) time.Time {
	if isNull(n) || duration.unlimited(n.Value) {
		return time.Time{}
	}
	if t, err := time.Parse(time.DateOnly, n.Value); err == nil {
		return t.AddDate(0, 0, 1)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, n.Value); err == nil {
			return t
		}
	}
	d.fail(n.Line, "%s is %s where a date belongs, such as 2030-01-31 or 2030-01-31T18:00:00Z", where, shape(n))
	return time.Time{}
}

// scalar refuses what isn't one plain value.
func (d *decoder) scalar(n *yaml.Node, where string) bool {
	if n.Kind != yaml.ScalarNode {
		d.fail(n.Line, "%s holds %s where one value belongs", where, shape(n))
		return false
	}
	return true
}
