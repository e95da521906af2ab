package rego_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/rego"
)

func TestThePageOfSitePolicyListsEveryFunction(t *testing.T) {
	page, err := os.ReadFile("../../docs/admins/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range slices.Sorted(slices.Values(rego.Builtins())) {
		if !strings.HasPrefix(name, "internal.") {
			names = append(names, "`"+name+"`")
		}
	}
	if want := "\n" + strings.Join(names, ", ") + ".\n"; !strings.Contains(string(page), want) {
		t.Errorf("docs/admins/policy.md is to list:%s", want)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(rego.Builtins())))) != len(rego.Builtins()) {
		t.Error("a function stands twice in the list")
	}
}

func TestTheRulesOnThePageCompile(t *testing.T) {
	page, err := os.ReadFile("../../docs/admins/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```rego\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("there are none")
	}
	if p, err := rego.Compile(file(text)); err != nil || len(p.Rules()) != 2 || p.Rules()[0].Line != 3 {
		t.Errorf("%v, %v", p, err)
	}
}
