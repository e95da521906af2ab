package policy

import (
	"reflect"
	"strings"
)

// Schema returns the JSON schema of Input, against which rules are compiled: a
// rule that reads a field that isn't there is an error, and never just silent.
func Schema() any { return schemaOf(reflect.TypeFor[Input]()) }

func schemaOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		for _, f := range Fields(t) {
			properties[f.Key] = schemaOf(f.Type)
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	default:
		return map[string]any{"type": "string"}
	}
}

// A Field is one key of a document.
type Field struct {
	Key, Doc string
	Type     reflect.Type
}

// Fields returns the keys of a struct, in order.
func Fields(t reflect.Type) []Field {
	var all []Field
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, Field{key, f.Tag.Get("doc"), f.Type})
	}
	return all
}
