package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A faultError is a value that can't work.
type faultError struct{ key, why string }

func (f *faultError) Error() string { return f.key + ": " + f.why }

func fault(key, format string, args ...any) error {
	return &faultError{key, fmt.Sprintf(format, args...)}
}

// withLine says where the value stands, if the file has it.
func withLine(err error, data []byte) string {
	line := 0
	if f, ok := errors.AsType[*faultError](err); ok {
		walk(data, func(key string, value *yaml.Node) {
			if key == f.key {
				line = value.Line
			}
		})
	}
	if line == 0 {
		return err.Error()
	}
	return fmt.Sprintf("line %d: %s", line, err)
}

var (
	unknownField = regexp.MustCompile(`field (\S+) not found in type config\.\S+`)
	wrongType    = regexp.MustCompile("line ([0-9]+): cannot unmarshal (!!\\w+)( `.*`)? into \\S+")
)

// yamlError puts the YAML library's words into ours: keys, not Go types.
func yamlError(err error, data []byte) string {
	text := wrongType.ReplaceAllStringFunc(err.Error(), func(found string) string {
		m := wrongType.FindStringSubmatch(found)
		key := ""
		walk(data, func(k string, value *yaml.Node) {
			if strconv.Itoa(value.Line) == m[1] && value.ShortTag() == m[2] {
				key = k + ": "
			}
		})
		return "line " + m[1] + ": " + key + kinds(m[2]) + m[3] + " doesn't belong here"
	})
	text = unknownField.ReplaceAllString(text, `unknown key "$1"`)
	text = strings.ReplaceAll(text, "yaml: unmarshal errors:\n  ", "")
	text = strings.ReplaceAll(text, "yaml: ", "")
	return strings.ReplaceAll(text, "\n  ", "; ")
}

// kinds names a YAML tag.
func kinds(tag string) string {
	switch tag {
	case "!!map":
		return "a mapping"
	case "!!seq":
		return "a list"
	}
	return "the value"
}

// walk calls f with every value of a file and its key, "gpu.sim.gpus".
func walk(data []byte, f func(key string, value *yaml.Node)) {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) != nil || len(root.Content) == 0 {
		return
	}
	var down func(prefix string, n *yaml.Node)
	down = func(prefix string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := prefix + n.Content[i].Value
			f(key, n.Content[i+1])
			down(key+".", n.Content[i+1])
		}
	}
	down("", root.Content[0])
}
