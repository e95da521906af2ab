package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// capabilities are what rules may call: functions of their arguments alone. What
// isn't listed, a newer OPA's functions too, isn't there.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(Builtins(), b.Name) })
	c.AllowNet = []string{}
	return c
}

// Builtins returns the names of the functions that rules may call.
func Builtins() []string {
	return slices.Concat(
		[]string{ // of the language itself
			"assign", "eq", "equal", "neq", "lt", "lte", "gt", "gte", "and", "or", "plus", "minus", "mul", "div", "rem", "set_diff",
			"internal.member_2", "internal.member_3", "internal.print", "internal.template_string", "internal.test_case", "print",
		},
		[]string{ // numbers and collections
			"abs", "ceil", "floor", "round", "format_int", "numbers.range", "numbers.range_step", "to_number",
			"count", "max", "min", "product", "sort", "sum", "intersection", "union",
			"array.concat", "array.flatten", "array.reverse", "array.slice",
			"object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n",
			"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name", "walk",
			"bits.and", "bits.lsh", "bits.negate", "bits.or", "bits.rsh", "bits.xor",
		},
		[]string{ // texts
			"concat", "contains", "endswith", "indexof", "indexof_n", "lower", "replace", "split", "sprintf", "startswith", "substring",
			"strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse", "strings.split_n",
			"trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper",
			"regex.find_all_string_submatch_n", "regex.find_n", "regex.is_valid", "regex.match", "regex.replace", "regex.split",
			"regex.template_match", "glob.match", "glob.quote_meta", "semver.compare", "semver.is_valid",
			"base64.decode", "base64.encode", "base64.is_valid", "hex.decode", "hex.encode",
			"json.filter", "json.is_valid", "json.marshal", "json.patch", "json.remove", "json.unmarshal",
			"units.parse", "units.parse_bytes",
		},
		[]string{ // addresses and times that they are given
			"net.cidr_contains", "net.cidr_intersects", "net.cidr_is_valid",
			"time.add_date", "time.clock", "time.date", "time.diff", "time.format", "time.parse_duration_ns", "time.parse_ns",
			"time.parse_rfc3339_ns", "time.weekday",
		},
	)
}
