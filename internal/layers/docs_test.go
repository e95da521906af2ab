package layers_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEachPackageSaysWhatItDoes(t *testing.T) {
	for _, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		hasCode := len(p.GoFiles)+len(p.CgoFiles) > 0
		if hasCode && !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: the package comment begins %q, want %q", p.name(), p.Doc, want)
		}
	}
}

func TestEachDependencyIsExplained(t *testing.T) {
	type goMod struct{ Require []struct{ Path string } }
	var modules []string
	for _, mod := range goJSON[goMod](t, "mod", "edit", "-json") {
		for _, r := range mod.Require {
			modules = append(modules, r.Path)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/developers/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, p := range packages(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for _, m := range modules {
				if within(imported, m) && !explained[m] {
					explained[m] = true
					if !strings.Contains(string(page), "| `"+m+"` |") {
						t.Errorf("%s imports %s, which docs/developers/dependencies.md doesn't explain", p.name(), m)
					}
				}
			}
		}
	}
}

// wrongLayers is how not to speak of the five layers.
var wrongLayers = regexp.MustCompile(`(?i)\b(4|four|3|three|6|six)[- ](tier|layer)s?\b|\b(5|five)[- ]tiers?\b`)

func TestDocsSpeakOfFiveLayers(t *testing.T) {
	for path, text := range pages(t) {
		if found := wrongLayers.FindString(text); found != "" {
			t.Errorf("%s says %q: ds01 has five layers", path, found)
		}
	}
}

// fence matches a fenced block of commands: its language and content.
var fence = regexp.MustCompile("(?ms)^ *```(sh|bash|console)\n(.*?)^ *```")

func TestCommandBlocksInDocsParse(t *testing.T) {
	for path, text := range pages(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			script := block[2]
			if block[1] == "console" {
				script = typed(script)
			}
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = strings.NewReader(script)
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: a block of commands doesn't parse: %s\n%s", path, said, script)
			}
			if strings.TrimSpace(script) == "" {
				t.Errorf("%s: a block of commands has none; in a console block they begin with \"$ \":\n%s", path, block[2])
			}
		}
	}
}

// typed returns what a person typed in a console session: the lines after a
// prompt, "$ " or "# ", and those they continue on.
func typed(session string) string {
	var lines []string
	continued := false
	for line := range strings.Lines(session) {
		trimmed := strings.TrimLeft(line, " ")
		command, prompt := strings.CutPrefix(trimmed, "$ ")
		if !prompt {
			command, prompt = strings.CutPrefix(trimmed, "# ")
		}
		if prompt || continued {
			lines = append(lines, command)
			continued = strings.HasSuffix(command, "\\\n")
		}
	}
	return strings.Join(lines, "")
}

// pages returns the text of all documentation by its path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	tops, err := filepath.Glob(root + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tops {
		add(path)
	}
	err = filepath.WalkDir(root+"/docs", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
