package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/rego"
)

// policyRule is one rule as "policy check --json" lists it.
type policyRule struct {
	Rule    string `json:"rule"` // deny or tighten
	Package string `json:"package"`
	File    string `json:"file"`
	Line    int    `json:"line"`
}

func (a *app) policyCheck() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:   "check FILE|DIR…",
		short: "Check rules of the site's policy",
		long: "Compiles rules as the daemon would, with the functions that rules may call and the fields that input has,\n" +
			"and lists those that deny or tighten. Each fault is told with file and line. Files of tests are left out.\n" +
			"It needs no daemon.",
		examples: []string{"ds01 policy check /etc/ds01/policy", "ds01 policy check teaching.rego --json"},
		guide:    "This reads the rules without putting them into force, and says what the daemon would say about them.",
		min:      1, max: -1, json: &asJSON, complete: completeFiles,
		run: func(_ context.Context, args []string) error {
			files, err := readRules(args)
			if err != nil {
				return err
			}
			policy, err := rego.Compile(files)
			if err != nil {
				return a.tellFaults(err)
			}
			rules := make([]policyRule, 0, len(policy.Rules()))
			for _, r := range policy.Rules() {
				rules = append(rules, policyRule{r.Name, r.Package, r.File, r.Line})
			}
			if asJSON {
				return a.printJSON(rules)
			}
			var t table
			t.add("RULE", "PACKAGE", "WHERE")
			for _, r := range rules {
				t.add(r.Rule, r.Package, fmt.Sprintf("%s:%d", r.File, r.Line))
			}
			t.write(a.Out)
			return nil
		},
	})
}

// tellFaults prints each fault of rules on a line of its own.
func (a *app) tellFaults(err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || !errors.Is(err, problem.ErrInvalid) {
		return err
	}
	for line := range strings.Lines(p.Why.Error() + "\n") {
		fmt.Fprint(a.Err, a.paint(a.Err, red, "Error:")+" "+line)
	}
	return exitError(exitFailed)
}

// readRules reads files of rules; a folder stands for those in it.
func readRules(args []string) ([]rego.File, error) {
	var files []rego.File
	for _, arg := range args {
		names := []string{arg}
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			if names, err = filepath.Glob(filepath.Join(arg, "*.rego")); err != nil || len(names) == 0 {
				return nil, unreadRules(arg, errors.Join(err, errors.New("no file in it ends in .rego")))
			}
		}
		for _, name := range names {
			text, err := os.ReadFile(name) //nolint:gosec // the person names the file and reads it with their own rights
			if err != nil {
				return nil, unreadRules(name, err)
			}
			files = append(files, rego.File{Name: name, Text: text})
		}
	}
	return files, nil
}

func unreadRules(name string, err error) error {
	return &problem.Error{
		What: "cannot read " + name, Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Name files of rules, or a folder of them, that you may read.",
	}
}
