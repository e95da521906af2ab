package docker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
)

var (
	engineRoute = regexp.MustCompile(`router\.New(Get|Head|Post|Put|Delete)Route\("([^"]+)"`)
	parameter   = regexp.MustCompile(`\{[a-z]+(:[^}]*)?\}`)
)

// Every route that the engine registers is a row of ds01's table: a new
// release of the engine brings nothing that nobody has thought about.
func TestEveryRouteOfTheEngineIsARow(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/docker/docker").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "api/server/router/*/*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	rows := map[string]bool{}
	for _, r := range admission.Routes() {
		rows[r.Method+" "+parameter.ReplaceAllString(r.Pattern, "{}")] = true
	}
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range engineRoute.FindAllSubmatch(source, -1) {
			found++
			pattern := strings.TrimSuffix(parameter.ReplaceAllString(string(m[2]), "{}"), "/")
			if row := strings.ToUpper(string(m[1])) + " " + pattern; !rows[row] {
				t.Errorf("%s is no row", row)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d routes found in the engine's source", found)
	}
}
