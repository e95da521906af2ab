package docker_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/system"

	"ds01.dev/ds01/internal/admission"
)

// Every field that the engine tells of itself is in ds01's table: a new release
// of the engine brings nothing that nobody has thought about.
func TestEveryFieldOfInfoIsInTheTable(t *testing.T) {
	fields := map[string]bool{}
	for _, f := range admission.InfoFields() {
		fields[f.Name] = true
	}
	for field := range reflect.TypeFor[system.Info]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		if !fields[name] {
			t.Errorf("%s is no field of the table", name)
		}
	}
}
