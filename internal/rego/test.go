package rego

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// A TestResult is what one test came to.
type TestResult struct {
	Name    string // "ds01.teaching_test.test_evening"
	File    string
	Line    int
	Passed  bool
	Skipped bool   // its name begins with todo_
	Why     string // of one that didn't pass
}

// testDeadline is how long one test may take.
const testDeadline = 5 * time.Second

// Test runs the rules whose names begin with test_, in any file, as "opa test"
// does, in the order of files and lines. Rules that don't compile are an error
// as Compile's.
func Test(ctx context.Context, files []File) ([]TestResult, error) {
	if _, err := Compile(files); err != nil {
		return nil, err
	}
	p := &Policy{compiler: newCompiler(), store: inmem.New(), slots: make(chan struct{}, 1)}
	modules, faults := parse(files)
	if len(faults) == 0 {
		p.compiler.Compile(modules)
		faults = lines(p.compiler.Errors)
	}
	if len(faults) > 0 {
		return nil, broken(faults)
	}
	var results []TestResult
	for _, f := range files {
		for _, rule := range tests(modules[f.Name]) {
			results = append(results, p.test(ctx, modules[f.Name], f.Name, rule))
		}
	}
	return results, nil
}

// tests returns the test rules of a module, each name once.
func tests(m *ast.Module) []*ast.Rule {
	var all []*ast.Rule
	for _, r := range m.Rules {
		name := string(r.Head.Name)
		again := slices.ContainsFunc(all, func(o *ast.Rule) bool { return o.Head.Name == r.Head.Name })
		if !again && (strings.HasPrefix(name, "test_") || strings.HasPrefix(name, "todo_test_")) {
			all = append(all, r)
		}
	}
	return all
}

func (p *Policy) test(ctx context.Context, m *ast.Module, file string, rule *ast.Rule) TestResult {
	name := string(rule.Head.Name)
	r := TestResult{Name: packageOf(m) + "." + name, File: file, Line: rule.Location.Row, Skipped: strings.HasPrefix(name, "todo_")}
	if r.Skipped {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, testDeadline)
	defer cancel()
	// A list is there also where the rule has no value.
	body, err := ast.ParseBody(fmt.Sprintf("passed = [x | x = data.%s]", r.Name))
	if err == nil {
		body, err = p.compiler.QueryCompiler().Compile(body)
	}
	if err != nil {
		r.Why = err.Error()
		return r
	}
	result, err := p.ask(ctx, body, nil)
	switch {
	case err == errLate: //nolint:errorlint // it is never wrapped
		r.Why = fmt.Sprintf("it took longer than %v", testDeadline)
	case err != nil:
		r.Why = err.Error()
	default:
		r.Passed = result["passed"].Equal(ast.ArrayTerm(ast.BooleanTerm(true)))
		if !r.Passed {
			r.Why = "it isn't true"
		}
	}
	return r
}
