package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/rego"
)

// examples are the rules that ship, with their tests.
func examples(t *testing.T) []rego.File {
	t.Helper()
	names, err := filepath.Glob("policy/examples/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	var files []rego.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rego.File{Name: name, Text: text})
	}
	return files
}

func TestTheExamplesOfSitePolicyPassTheirTests(t *testing.T) {
	files := examples(t)
	results, err := rego.Test(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, r := range results {
		if tested[strings.Replace(r.File, "_test.rego", ".rego", 1)] = true; !r.Passed {
			t.Errorf("%s:%d: %s: %s", r.File, r.Line, r.Name, r.Why)
		}
	}
	for _, f := range files {
		if !f.IsTest() && !tested[f.Name] {
			t.Errorf("%s has no tests", f.Name)
		}
	}
}
