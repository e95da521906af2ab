package docker_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"

	"github.com/docker/docker/api/types/mount"
)

// all is every value that there is for a field.
const all = 1 << 10

// tried returns the first base with each field of the engine's type, each with
// so many values, so that no field goes untried: one that a newer engine reads
// is among them by itself.
func (b body) tried(values int) (bodies [][]byte) {
	for _, one := range overlaid(b.bases[0], reflect.TypeOf(b.read), values) {
		data, err := json.Marshal(one)
		if err != nil {
			panic(err)
		}
		bodies = append(bodies, data)
	}
	return bodies
}

// overlaid returns a base, and the base with each field of the struct in so
// many of its variants.
func overlaid(base string, t reflect.Type, values int) []any {
	parsed := map[string]any{}
	if err := json.Unmarshal([]byte(base), &parsed); err != nil {
		panic(err)
	}
	bodies := []any{parsed}
	for field := range t.Fields() {
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if field.Anonymous {
			bodies = append(bodies, overlaid(base, inner, values)[1:]...)
			continue
		}
		for _, v := range variants(inner, values) {
			bodies = append(bodies, merged(parsed, map[string]any{jsonName(field): v}))
		}
	}
	return bodies
}

func jsonName(field reflect.StructField) string {
	if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
		return name
	}
	return field.Name
}

// merged returns base with the members of over; objects in both become one.
func merged(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for key, v := range over {
		a, aok := out[key].(map[string]any)
		b, bok := v.(map[string]any)
		if out[key] = v; aok && bok {
			out[key] = merged(a, b)
		}
	}
	return out
}

// variants returns JSON values that the type can hold; of numbers and texts so
// many.
func variants(t reflect.Type, values int) (found []any) {
	most := func(of ...any) []any { return of[:min(values, len(of))] }
	switch t.Kind() {
	case reflect.Pointer:
		return variants(t.Elem(), values)
	case reflect.Bool:
		return most(true)
	case reflect.String:
		return most("host", "container:other", "shareable", "private", "always", "syslog", "nvidia", "local", "net", "0", "a",
			"/proc/self/fd/8", "/x/../proc/self/fd/8", "/etc:/etc", "ro", "/dev/sda", "seccomp=unconfined", "NVIDIA_VISIBLE_DEVICES=all", "LD_PRELOAD=/x")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return most(-1, 1, 500, 1<<40)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return most(500, 1, 1<<40)
	case reflect.Slice:
		found = []any{[]any{}}
		for _, v := range variants(t.Elem(), values) {
			found = append(found, []any{v})
		}
	case reflect.Array:
		for _, v := range variants(t.Elem(), values) {
			found = append(found, []any{v, v})
		}
	case reflect.Map:
		for _, key := range keys(t.Elem()) {
			for _, v := range variants(t.Elem(), values) {
				found = append(found, map[string]any{key: v})
			}
		}
	case reflect.Struct:
		for _, form := range forms(t) {
			found = append(found, overlaid(form, t, values)...)
		}
	default:
		panic("no values for " + t.String())
	}
	return found
}

// keys returns names that mean something in maps of such values.
func keys(values reflect.Type) []string {
	switch values.Kind() {
	case reflect.String:
		return []string{"a", "device", "aime.mlc.DS01_UID", "DS01.x", "/proc/x"}
	case reflect.Struct, reflect.Slice:
		return []string{"80/tcp", "/proc/x"}
	default:
		return []string{"net"}
	}
}

// forms returns what the fields of a struct are tried in.
func forms(t reflect.Type) []string {
	if t == reflect.TypeFor[mount.Mount]() {
		return []string{
			`{"Type":"bind","Source":"/home/alice/w","Target":"/w"}`,
			`{"Type":"volume","Source":"data","Target":"/d"}`,
			`{"Type":"tmpfs","Target":"/t"}`,
		}
	}
	return []string{`{}`}
}
