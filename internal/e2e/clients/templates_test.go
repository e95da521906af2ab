package clients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const devcontainersPage = "../../../docs/users/devcontainers.md"

// TestTemplatesUseWhatIsTried holds that each devcontainer.json on the page for
// people is one, and that a scenario has tried each property and each option of
// `docker run` in it.
func TestTemplatesUseWhatIsTried(t *testing.T) {
	tried := map[string]bool{}
	scenarios, err := filepath.Glob("testdata/devcontainer/*/.devcontainer/devcontainer.json")
	must(t, err)
	more, err := filepath.Glob("testdata/devcontainer/*/*/.devcontainer/devcontainer.json")
	must(t, err)
	for _, file := range append(scenarios, more...) {
		data, err := os.ReadFile(file)
		must(t, err)
		for _, word := range written(t, string(data)) {
			tried[word] = true
		}
	}
	text, err := os.ReadFile(devcontainersPage)
	must(t, err)
	templates := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(templates) < 4 {
		t.Errorf("%d templates", len(templates))
	}
	for _, template := range templates {
		words := written(t, template[1])
		if !slices.Contains(words, "hostRequirements.gpu") {
			t.Errorf("no GPU is asked for:\n%s", template[1])
		}
		for _, word := range words {
			if !tried[word] {
				t.Errorf("no scenario has tried %s:\n%s", word, template[1])
			}
		}
	}
}

// written returns the properties of a devcontainer.json, those below
// hostRequirements with its name before them, and the options under runArgs.
func written(t *testing.T, text string) (words []string) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	var args []string
	var needs map[string]any
	for name, into := range map[string]any{"runArgs": &args, "hostRequirements": &needs} {
		if value := all[name]; value != nil {
			must(t, json.Unmarshal(value, into))
		}
	}
	for name := range all {
		words = append(words, name)
	}
	for name := range needs {
		words = append(words, "hostRequirements."+name)
	}
	for _, arg := range args {
		if option, _, _ := strings.Cut(arg, "="); strings.HasPrefix(option, "-") {
			words = append(words, option)
		}
	}
	return words
}
