package limits

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A sectionKey is one key of a section that says something about the host as
// a whole. Nothing enforces any of them yet: each is checked, and warned of.
type sectionKey struct {
	name string
	kind kind
}

// sections lists the keys of each section.
func sections() map[string][]sectionKey {
	return map[string][]sectionKey{
		"policies": {
			{"auto_stop_idle", truth},
			{"checkpoint_warning", duration},
			{"require_workspace_mount", truth},
			{"enforce_storage_quotas", truth},
			{"soft_limit_threshold", fraction},
			{"high_demand_threshold", fraction},
			{"high_demand_idle_reduction", fraction},
			{"graceful_errors", truth},
			{"suggest_alternatives", truth},
			{"grace_period", duration},
			{"keepalive_max_duration", duration},
			{"gpu_hold_after_manual_stop", duration},
			{"created_container_timeout", duration},
		},
		"gpu_allocation": {
			{"strategy", word},
			{"allocation_method", word},
			{"enable_mig", truth},
			{"mig_instances_per_gpu", count},
			{"mig_strategy", word},
			{"mig_profile", word},
			{"mig_gpus", anything},
			{"respect_reservations", truth},
		},
		"container_types": { // of each type
			{"idle_timeout", duration},
			{"max_runtime", duration},
			{"stop_timeout", duration},
			{"default_mig_count", anything},
		},
		"bare_metal_access": {
			{"exempt_users", wordList},
			{"admin_group", word},
			{"default_grant_duration", duration},
			{"state_dir", word},
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
			d.mapping(v, where, func(k, v *yaml.Node) { d.sectionKey(key.Value, where, k, v) })
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
			d.warn(key.Line, "not applied: %s.%s is %s", where, key.Value, notYet)
			return
		}
		allowed = append(allowed, k.name)
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
	return slices.Contains(sections()[strings.TrimSuffix(scope, ".")], sectionKey{name, duration})
}
