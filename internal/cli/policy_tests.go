package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/rego"
)

// policyTestResult is one test as "policy test --json" lists it.
type policyTestResult struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Result string `json:"result"` // passed, failed or skipped
	Why    string `json:"why,omitempty"`
}

func (a *app) policyTest() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:   "test FILE|DIR…",
		short: "Run the tests of the site's policy",
		long: "Compiles rules and runs the tests beside them, as 'opa test' does: rules whose names begin with test_, in\n" +
			"files that end in _test.rego. A name that begins with todo_test_ is left out. It ends with 1 where a test\n" +
			"fails or there is none. It needs no daemon.",
		examples: []string{"ds01 policy test /etc/ds01/policy", "ds01 policy test deploy/policy/examples --json"},
		guide:    "This tries the rules on made-up requests that stand beside them. Nothing is put into force.",
		min:      1, max: -1, json: &asJSON, complete: completeFiles,
		run: func(ctx context.Context, args []string) error {
			files, err := readRules(args)
			if err != nil {
				return err
			}
			found, err := rego.Test(ctx, files)
			if err != nil {
				return a.tellFaults(err)
			}
			results, failed := make([]policyTestResult, 0, len(found)), len(found) == 0
			for _, r := range found {
				one := policyTestResult{r.Name, r.File, r.Line, "passed", r.Why}
				switch {
				case r.Skipped:
					one.Result = "skipped"
				case !r.Passed:
					one.Result, failed = "failed", true
				}
				results = append(results, one)
			}
			if asJSON {
				err = a.printJSON(results)
			} else {
				a.writeTests(results)
			}
			if err == nil && failed {
				err = exitError(exitFailed)
			}
			return err
		},
	})
}

func (a *app) writeTests(results []policyTestResult) {
	colours := map[string]string{"passed": green, "failed": red, "skipped": yellow}
	count := map[string]int{}
	var t table
	for _, r := range results {
		count[r.Result]++
		t.add(a.paint(a.Out, colours[r.Result], r.Result), r.Name, fmt.Sprintf("%s:%d", r.File, r.Line), r.Why)
	}
	t.write(a.Out)
	fmt.Fprintf(a.Out, "%d passed, %d failed, %d skipped.\n", count["passed"], count["failed"], count["skipped"])
}
