package clients_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"testing"
)

const page = "../../../docs/users/clients.md"

// pinned returns the version that a file pins, "" where it doesn't.
func pinned(file, pattern string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if found := regexp.MustCompile(pattern).FindSubmatch(data); found != nil {
		return string(found[1])
	}
	return ""
}

func render() []byte {
	var b bytes.Buffer
	b.WriteString(`# Programs that speak to Docker

What you have learned about Docker elsewhere holds here. These programs are tried
with ds01 as they are, each line as two people at once who call everything by the
same names; neither meets the other's. The page is written from what the tests run
(` + "`go test ./internal/e2e/clients -run TestPage -update`" + `).
`)
	for _, c := range clients() {
		fmt.Fprintf(&b, "\n## %s\n\nTried: %s.\n\n", c.name, c.about)
		for _, s := range c.scenarios {
			if s.refused == "" {
				fmt.Fprintf(&b, "- %s\n", s.says)
			}
		}
		refusals(&b, c)
	}
	return b.Bytes()
}

// refusals writes what of a client is refused.
func refusals(b *bytes.Buffer, c client) {
	head := "\n| refused | since | instead |\n|---|---|---|\n"
	for _, s := range c.scenarios {
		if s.refused != "" {
			fmt.Fprintf(b, "%s| %s | %s | %s |\n", head, s.says, s.refused, s.instead)
			head = ""
		}
	}
}

func TestPage(t *testing.T) {
	want := render()
	if *update {
		must(t, os.WriteFile(page, want, 0o644))
	}
	got, err := os.ReadFile(page)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s is behind what is tried: go test ./internal/e2e/clients -run TestPage -update", page)
	}
}

// TestEachScenarioIsWhole holds that what is refused says what to do in its
// place.
func TestEachScenarioIsWhole(t *testing.T) {
	for _, c := range clients() {
		seen := map[string]bool{}
		for _, s := range c.scenarios {
			ways := 0
			for _, way := range []string{s.script, s.words, s.service, s.config} {
				if way != "" {
					ways++
				}
			}
			if s.says == "" || seen[s.says] || ways != 1 || (s.refused == "") != (s.instead == "") {
				t.Errorf("%s: %+v", c.name, s)
			}
			seen[s.says] = true
		}
		if c.about == "" {
			t.Errorf("%s: which one is tried?", c.name)
		}
	}
}
