package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/rego"
)

const (
	good   = "package ds01.site\n\ndeny contains \"no\" if input.user.name == \"bob\"\n"
	broken = "package ds01.site\n\ndeny contains\n"
)

// ask returns what a policy says about a request of bob's.
func ask(t *testing.T, p *sitePolicy) string {
	t.Helper()
	rules := p.current()
	if rules == nil {
		return "none"
	}
	if r, ok := rules.(*rego.Policy); ok {
		r.Deadline = time.Minute // however busy the machine is
	}
	v, err := rules.Judge(t.Context(), policy.Input{User: policy.User{Name: "bob"}})
	if err != nil {
		return err.Error()
	}
	if len(v.Denials) == 1 {
		return v.Denials[0].Message
	}
	return "nothing"
}

func TestTheLastGoodRulesStayAndWithoutAnyNothingIsAllowed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "policy")
	p := &sitePolicy{folder: folder, log: slog.New(slog.DiscardHandler)}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name   string
		change func()
		says   string
		bad    bool
	}{
		{"no folder", func() {}, "none", false},
		{"a folder without rules", func() { write("README", "x"); write("site_test.rego", "x") }, "none", false},
		{"rules that never compiled", func() { write("site.rego", broken) }, "no rules are in force: site policy can't be used", true},
		{"good rules", func() { write("site.rego", good) }, "no", false},
		{"one broken file of two", func() { write("more.rego", broken) }, "no", true},
		{"a file that can't be read", func() { remove("more.rego"); write("more.rego", good); unreadable(t, folder, "more.rego") }, "no", true},
		{"a folder that is none", func() { remove(""); writeFile(t, folder) }, "no", true},
		{"no folder again", func() { remove("") }, "none", false},
	} {
		step.change()
		err := p.reload(t.Context())
		if got := ask(t, p); !strings.HasPrefix(got, step.says) || (err != nil) != step.bad {
			t.Errorf("%s: got %q, %v", step.name, got, err)
		}
		if why, others := p.problem(); (why != "") != step.bad || step.bad && others != (step.says == "no") {
			t.Errorf("%s: told %q, %v", step.name, why, others)
		}
	}
}

// unreadable puts in a file's place what even root can't read as one.
func unreadable(t *testing.T, folder, name string) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nonexistent", path); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
