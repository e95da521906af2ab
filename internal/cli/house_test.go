package cli

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// tree returns every command that exists, the groups among them included.
func tree(t *testing.T) []*cobra.Command {
	t.Helper()
	a := &app{entry: Entry{
		Daemon: func(context.Context, DaemonOptions) error { return nil },
		Demo:   func(context.Context, DemoOptions) error { return nil },
	}}
	var all []*cobra.Command
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	root := a.root()
	root.InitDefaultHelpCmd()
	walk(root)
	return all
}

func TestEveryCommandHasHelpWithExamplesAndExitCodes(t *testing.T) {
	for _, c := range tree(t) {
		var page bytes.Buffer
		writeHelp(&page, c)
		for _, want := range []string{"Usage:\n", "Examples:\n", "Exit codes:\n  0 ", "  1 ", "  2 "} {
			if !strings.Contains(page.String(), want) {
				t.Errorf("%s: its help has no %q", c.CommandPath(), want)
			}
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Long == "" {
			t.Errorf("%s: it needs a short text without and a long one with a full stop", c.CommandPath())
		}
		if c.Example == "" {
			t.Errorf("%s: it has no example", c.CommandPath())
		}
		if len(c.Commands()) == 0 && c.Annotations[noteGuide] == "" {
			t.Errorf("%s: --guided says nothing", c.CommandPath())
		}
	}
}

// TestEveryCommandThatPrintsDataHasJSON names those that don't; a new command
// stands in neither list and fails until it is decided.
func TestEveryCommandThatPrintsDataHasJSON(t *testing.T) {
	data := []string{
		"audit show", "audit verify", "container create", "container deploy", "container extend", "container keep", "container protect", "container unkeep", "container unprotect", "exempt add", "exempt list", "container gpu add", "container gpu release", "container list", "container prune", "container stats", "container update", "gpu drain", "gpu list", "gpu mig assert", "gpu mig export", "gpu mig plan", "gpu queue join", "gpu queue list", "gpu queue position", "gpu reservations", "gpu reserve", "gpu undrain", "gpu verify", "gpu why", "image list", "user limits",
		"limits diff", "policy check", "policy eval", "policy test", "dashboard", "doctor", "install", "remap", "uninstall", "version",
	}
	plain := []string{
		"completion", "container adopt", "container cp", "container exec", "container logs", "container open", "container pause", "container remove", "container rename", "container unpause",
		"container retire", "container run", "container start", "container stop", "daemon", "demo", "docs", "exempt remove", "greeting", "gpu mig apply", "gpu queue leave", "gpu sim set", "gpu unreserve",
		"help", "image delete", "image load", "image save", "image share", "image unshare", "limits check", "limits show",
	}
	for _, c := range tree(t) {
		if len(c.Commands()) > 0 {
			continue
		}
		name := strings.TrimPrefix(c.CommandPath(), "ds01 ")
		has := c.Flags().Lookup("json") != nil
		switch {
		case slices.Contains(data, name) && !has:
			t.Errorf("%s has no --json", name)
		case slices.Contains(plain, name) && has:
			t.Errorf("%s has --json and stands among those without", name)
		case !slices.Contains(data, name) && !slices.Contains(plain, name):
			t.Errorf("%s: decide whether it prints data", name)
		}
	}
}

func TestEveryExampleIsACommandLineThatParses(t *testing.T) {
	for _, c := range tree(t) {
		for line := range strings.Lines(c.Example) {
			words, _, _ := strings.Cut(line, " > ")
			found, rest, err := tree(t)[0].Find(strings.Fields(words)[1:])
			if err != nil || found.HasSubCommands() {
				t.Errorf("%s: %q names no command: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			}
		}
	}
}

func TestEveryLinkStandsForACommandThatExists(t *testing.T) {
	for _, l := range links() {
		found, rest, err := tree(t)[0].Find(strings.Fields(l.command))
		if err != nil || len(rest) > 0 || found.CommandPath() != "ds01 "+l.command {
			t.Errorf("%s stands for %q, which is no command", l.name, l.command)
		}
	}
	if names := Links(); len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Error("a name stands twice in the table")
	}
}

func TestEveryVerbOfANounHasItsLink(t *testing.T) {
	names := Links()
	for _, c := range tree(t) {
		words := strings.Fields(c.CommandPath())
		if len(words) == 3 && !c.HasSubCommands() && !slices.Contains(names, words[1]+"-"+words[2]) {
			t.Errorf("%s has no link %s-%s", c.CommandPath(), words[1], words[2])
		}
	}
}

func TestResolveLinkPutsTheCommandInFront(t *testing.T) {
	for name, c := range map[string]struct{ args, want []string }{
		"the program itself":        {[]string{"/usr/bin/ds01", "gpu", "list"}, []string{"gpu", "list"}},
		"a noun":                    {[]string{"container", "list"}, []string{"container", "list"}},
		"a noun and a verb":         {[]string{"/usr/bin/container-list", "--json"}, []string{"container", "list", "--json"}},
		"an old name":               {[]string{"check-limits"}, []string{"user", "limits"}},
		"a name that isn't known":   {[]string{"something", "version"}, []string{"version"}},
		"completion through a link": {[]string{"container", "__complete", "open", ""}, []string{"__complete", "container", "open", ""}},
		"no name at all":            {nil, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, resolveLink(c.args)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestThePageOfCommandsIsUpToDate(t *testing.T) {
	var page bytes.Buffer
	a := &app{Streams: Streams{Out: &page}, env: func(string) string { return "" }, entry: Entry{
		Daemon: func(context.Context, DaemonOptions) error { return nil },
		Demo:   func(context.Context, DemoOptions) error { return nil },
	}}
	root := a.root()
	root.SetArgs([]string{"docs"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/users/commands.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), page.String()); diff != "" {
		t.Errorf("write it again with 'ds01 docs > docs/users/commands.md':\n%s", diff)
	}
}

func TestTheGuideForBeginnersNamesOnlyWhatExists(t *testing.T) {
	text, err := os.ReadFile("../../docs/users/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "$" || words[1] != "ds01" {
			continue
		}
		found, rest, err := tree(t)[0].Find(words[2:])
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err != nil || found.HasSubCommands() {
			t.Errorf("%q names no command: %v", strings.TrimSpace(line), err)
		}
	}
}
