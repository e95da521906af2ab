package policy_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/policy"
)

// rows returns the rows of a table for fields and what is in them.
func rows(fields []policy.Field, prefix string) (text string) {
	for _, f := range fields {
		t := f.Type
		name, list := "`"+prefix+f.Key+"`", ""
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Slice {
			t, list = t.Elem(), "list of "
		}
		if t.Kind() == reflect.Struct {
			inner := prefix + f.Key + "."
			if list != "" {
				inner = prefix + f.Key + "[_]."
			}
			text += rows(policy.Fields(t), inner)
			continue
		}
		kind := map[reflect.Kind]string{
			reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "number", reflect.Int64: "number", reflect.Float64: "number",
			reflect.Map: "object of strings",
		}[t.Kind()]
		if list != "" {
			kind = list + kind + "s"
		}
		text += fmt.Sprintf("| %s | %s | %s |\n", name, kind, f.Doc)
	}
	return text
}

func TestThePageOfSitePolicyHasEveryField(t *testing.T) {
	page, err := os.ReadFile("../../docs/admins/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"input":   "| field | kind | what |\n|---|---|---|\n" + rows(policy.Fields(reflect.TypeFor[policy.Input]()), ""),
		"tighten": "| key | kind | what |\n|---|---|---|\n" + rows(policy.Tightening(), ""),
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/admins/policy.md: the table of %s is to be:\n%s", name, want)
		}
	}
	for _, action := range policy.Actions() {
		if !strings.Contains(string(page), "| `"+string(action)+"` |") {
			t.Errorf("docs/admins/policy.md doesn't explain %s", action)
		}
	}
}
