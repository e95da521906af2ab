package limits

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A sectionKey is one key of a section that says something about the host as
// a whole. Each is checked, and warned of where nothing enforces it.
type sectionKey struct {
	name     string
	kind     kind
	by       string // what holds people to it
	inactive string // why nothing does; either this or by is said
}

// Why nothing reads what the existing deployment said of GPUs.
const (
	cutByMIG = "what cards are cut into is declared with 'ds01 gpu mig apply', or left to ds01 by gpu.mig.mode of ds01.yaml"
	packed   = "a claim always gets the smallest devices that do, on the cards that are used already"
	always   = "it always holds"
)

// sections lists the keys of each section.
func sections() map[string][]sectionKey {
	return map[string][]sectionKey{
		"policies": {
			{name: "checkpoint_warning", kind: duration, inactive: "write first_warning and last_warning, which are parts of the time"},
			{name: "require_workspace_mount", kind: truth, inactive: "'container create' always mounts a workspace, and docker what is asked for"},
			{name: "enforce_storage_quotas", kind: truth, inactive: quotas},
			{name: "soft_limit_threshold", kind: fraction, inactive: "'user limits' marks 80% of each limit"},
			{name: "graceful_errors", kind: truth, inactive: always},
			{name: "suggest_alternatives", kind: truth, inactive: always},
			{name: "gpu_hold_after_manual_stop", kind: duration, inactive: "write gpu_hold_after_stop under defaults, a group or an override"},
		},
		"gpu_allocation": {
			{name: "strategy", kind: word, inactive: packed},
			{name: "allocation_method", kind: word, inactive: packed},
			{name: "enable_mig", kind: truth, inactive: "gpu.mig.mode of ds01.yaml says it"},
			{name: "mig_instances_per_gpu", kind: count, inactive: cutByMIG},
			{name: "mig_strategy", kind: word, inactive: cutByMIG},
			{name: "mig_profile", kind: word, inactive: cutByMIG},
			{name: "mig_gpus", kind: anything, inactive: cutByMIG},
			{name: "respect_reservations", kind: truth, inactive: "reservations always hold"},
		},
		"container_types": { // of each type
			{name: "default_mig_count", kind: anything, inactive: "whoever makes a container asks for what it needs"},
		},
		"bare_metal_access": {
			{name: "exempt_users", kind: wordList, inactive: hosts},
			{name: "admin_group", kind: word, inactive: hosts},
			{name: "default_grant_duration", kind: duration, inactive: hosts},
			{name: "state_dir", kind: word, inactive: hosts},
		},
	}
}

// containerTypes lists what a container can have been made by: the values of
// DS01_INTERFACE, and the existing deployment's word for the rest.
func containerTypes() []string {
	return []string{"orchestration", "atomic", "mlc", "docker", "compose", "devcontainer", "job", "api", "unknown"}
}

// section reads a top-level key that isn't about limits.
func (d *decoder) section(key, value *yaml.Node) {
	for _, r := range retiredSections() {
		if r.name == key.Value {
			d.warn(key.Line, "not applied: %s: %s", r.name, r.advice)
			return
		}
	}
	switch key.Value {
	case "gpu_allocation", "bare_metal_access":
		d.mapping(value, key.Value, func(k, v *yaml.Node) { d.sectionKey(key.Value, key.Value, k, v) })
	case "container_types":
		d.mapping(value, key.Value, func(kind, v *yaml.Node) {
			if !slices.Contains(containerTypes(), kind.Value) {
				d.unknown(kind, key.Value, containerTypes())
				return
			}
			where := key.Value + "." + kind.Value
			r := &ruleDecoder{decoder: d, rule: where}
			d.mapping(v, where, func(k, v *yaml.Node) {
				if slices.Contains(typeKeys(), k.Value) {
					r.limit("", k, v)
					return
				}
				d.sectionKey(key.Value, where, k, v)
			})
			d.doc.types[kind.Value] = typeOf(&r.layer)
		})
	default:
		d.unknown(key, "the file", topLevel())
	}
}

func topLevel() []string {
	return []string{
		"defaults", "default_group", "groups", "user_overrides",
		"policies", "gpu_allocation", "container_types", "bare_metal_access",
	}
}

// policies reads the policies that hold for all, and returns those that a
// group may set too.
func (d *decoder) policies(n *yaml.Node) layer {
	r := &ruleDecoder{decoder: d, rule: "policies"}
	d.mapping(n, "policies", func(k, v *yaml.Node) {
		if id := d.find("policies." + k.Value); id >= 0 {
			r.set(id, k, v, d.doc.keys[id].kind.parse)
			return
		}
		d.sectionKey("policies", "policies", k, v)
	})
	return r.layer
}

// sectionKey checks one key of a section, which stands at where.
func (d *decoder) sectionKey(section, where string, key, value *yaml.Node) {
	var allowed []string
	for _, k := range sections()[section] {
		if k.name == key.Value {
			d.check(k.kind, value, where+"."+key.Value)
			if k.inactive != "" {
				d.warn(key.Line, "not applied: %s.%s: %s", where, key.Value, k.inactive)
			}
			return
		}
		allowed = append(allowed, k.name)
	}
	switch section {
	case "container_types":
		allowed = append(typeKeys(), allowed...)
	case "policies":
		allowed = append(d.allowed("policies."), allowed...)
	}
	if !d.unitInName(section+".", where, key, value) {
		d.unknown(key, where, allowed)
	}
}

// check refuses a value that isn't of its kind.
func (d *decoder) check(k kind, value *yaml.Node, where string) {
	switch {
	case k == anything || isNull(value):
	case k == wordList:
		d.list(value, where, func(*yaml.Node) {})
	case !d.scalar(value, where), k.boundless() && k.unlimited(value.Value):
	default:
		if _, err := k.parse(value.Value); err != nil {
			d.fail(value.Line, "%s: %v", where, err)
		}
	}
}

// isDuration reports whether a key of a scope is a duration: "" for a rule
// itself, else the section and a point.
func (d *decoder) isDuration(scope, name string) bool {
	if id := d.find(scope + name); id >= 0 {
		return d.doc.keys[id].kind == duration
	}
	if scope == "container_types." && slices.Contains(typeKeys(), name) {
		return true
	}
	return slices.ContainsFunc(sections()[strings.TrimSuffix(scope, ".")], func(k sectionKey) bool { return k.name == name && k.kind == duration })
}
