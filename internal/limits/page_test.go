package limits_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/limits"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../../docs/admins/limits-keys.md"

func render() []byte {
	var b bytes.Buffer
	b.WriteString(`# Every key of the limits file

This page is made from the table that the [limits file](limits.md) is read by
(` + "`go test ./internal/limits -run TestPage -update`" + `).

A value is the default where neither ` + "`defaults`" + ` nor what lies over them says the
key. A key that nothing enforces is read and checked; ` + "`limits check`" + ` warns of it, or
` + "`user limits`" + ` says so beside it.

| key | default | enforced by |
|---|---|---|
`)
	for _, k := range limits.Keys() {
		by := k.By
		if k.Inactive != "" {
			by = "**nothing**: " + k.Inactive
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, k.Default, by)
	}
	b.WriteString(`
## Keys of the deployment before

| key | what becomes of it |
|---|---|
`)
	for _, r := range limits.RetiredKeys() {
		text := "not applied: " + r.Instead
		if r.Applied {
			text = "read as `" + r.Instead + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Name, text)
	}
	return b.Bytes()
}

func TestPage(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s isn't what the tables say: run this test with -update", page)
	}
}

func TestOfEachKeyItIsSaidWhatHoldsItOrWhyNothingDoes(t *testing.T) {
	names := map[string]bool{}
	for _, k := range limits.Keys() {
		if (k.By == "") == (k.Inactive == "") {
			t.Errorf("%s: enforced by %q, inactive: %q; one of them is to be said", k.Name, k.By, k.Inactive)
		}
		names[k.Name] = true
	}
	d, _ := decode(t, "")
	_, l := resolved(d, "alice")
	for _, v := range l.Values() {
		if !names[v.Key] {
			t.Errorf("%s isn't on the page", v.Key)
		}
	}
}

// The page names what the file may hold, and not what it may not.
func TestTheFileMayHoldEachKeyOfThePage(t *testing.T) {
	for _, k := range limits.Keys() {
		path := strings.Split(strings.NewReplacer("GROUP", "student", "USER", "alice", "TYPE", "docker").Replace(k.Name), ".")
		if len(path) == 1 && path[0] != "default_group" || slices.Contains([]string{"aggregate", "keep", "without_gpu"}, path[0]) {
			path = append([]string{"defaults"}, path...)
		}
		text := strings.Join(path, ": {") + ": null" + strings.Repeat("}", len(path)-1)
		_, _, err := limits.Decode(limits.File{Name: "f", Data: []byte(text)}, nil)
		if err != nil && strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
