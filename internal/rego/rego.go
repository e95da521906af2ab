// Package rego speaks Rego: it compiles a site's rules with Open Policy Agent
// embedded, lets them judge one request at a time, and runs their tests. Rules
// reach no network, clock, file or chance. What they decide about is package
// policy's.
package rego

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// A File is one file of rules.
type File struct {
	Name string // as messages call it
	Text []byte
}

// IsTest reports whether the file holds tests, which the daemon leaves out.
func (f File) IsTest() bool { return strings.HasSuffix(f.Name, "_test.rego") }

// A Rule is one rule that denies or tightens.
type Rule struct {
	Name    string // "deny" or "tighten"
	Package string // "ds01.teaching"
	File    string
	Line    int
}

// String returns "teaching.rego:12".
func (r Rule) String() string { return fmt.Sprintf("%s:%d", filepath.Base(r.File), r.Line) }

// The rules that count, by their names, in package ds01 and those below it.
const (
	root    = "ds01"
	deny    = "deny"
	tighten = "tighten"
)

// marked is what the copies of rules are called that say where each answer is
// from.
const marked = "__ds01_"

// A Policy is a set of rules that compiled. It is safe for concurrent use.
type Policy struct {
	Deadline time.Duration // how long all rules may take over one request; a second unless set

	compiler *ast.Compiler
	store    storage.Store
	query    ast.Body
	rules    []Rule
	slots    chan struct{} // one for each evaluation at a time
}

// Rules returns the rules that deny or tighten, by file and line.
func (p *Policy) Rules() []Rule { return p.rules }

// Compile compiles files as the daemon does; files of tests are left out. The
// error, of kind problem.ErrInvalid, has one line for each fault, with file and
// line.
func Compile(files []File) (*Policy, error) {
	files = slices.DeleteFunc(slices.Clone(files), File.IsTest)
	p := &Policy{Deadline: deadline, store: inmem.New(), slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	modules, faults := parse(files)
	packages := map[string]bool{}
	for _, f := range files {
		if modules[f.Name] == nil {
			continue
		}
		found, bad := mark(modules[f.Name], f.Name)
		p.rules, faults = append(p.rules, found...), append(faults, bad...)
		for _, r := range found {
			packages[fmt.Sprintf("data.%s.%s%s", r.Package, marked, r.Name)] = true
		}
	}
	if len(faults) == 0 && len(p.rules) == 0 {
		faults = []string{"no file has a rule 'deny contains …' or 'tighten contains …'"}
	}
	if len(faults) == 0 {
		p.compiler = newCompiler()
		p.compiler.Compile(modules)
		faults = lines(p.compiler.Errors)
	}
	if len(faults) > 0 {
		return nil, broken(faults)
	}
	slices.SortFunc(p.rules, func(a, b Rule) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return p, p.prepare(packages)
}

// prepare compiles the one query that asks every rule.
func (p *Policy) prepare(packages map[string]bool) error {
	var denials, tightenings []string
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if strings.HasSuffix(name, marked+deny) {
			denials = append(denials, name)
		} else {
			tightenings = append(tightenings, name)
		}
	}
	text := fmt.Sprintf("denied = [%s]; tightened = [%s]", strings.Join(denials, ", "), strings.Join(tightenings, ", "))
	body, err := ast.ParseBody(text)
	if err != nil {
		return fmt.Errorf("ask the rules: %w", err)
	}
	p.query, err = p.compiler.QueryCompiler().Compile(body)
	return err
}

func newCompiler() *ast.Compiler {
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, policy.Schema())
	return ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).WithSchemas(schemas)
}

// parse reads files. Each has to be in package ds01 or below it: elsewhere its
// rules would count for nothing.
func parse(files []File) (modules map[string]*ast.Module, faults []string) {
	modules = map[string]*ast.Module{}
	for _, f := range files {
		module, err := ast.ParseModuleWithOpts(f.Name, string(f.Text), ast.ParserOptions{Capabilities: capabilities(), RegoVersion: ast.RegoV1})
		switch {
		case err != nil:
			faults = append(faults, lines(err)...)
		case module == nil:
			faults = append(faults, f.Name+":1: it is empty")
		case !f.IsTest() && packageOf(module) != root && !strings.HasPrefix(packageOf(module), root+"."):
			faults = append(faults, fmt.Sprintf("%s:%d: package %s isn't %s or below it, such as %[4]s.teaching: its rules would count for nothing",
				f.Name, module.Package.Location.Row, packageOf(module), root))
		default:
			modules[f.Name] = module
		}
	}
	return modules, faults
}

func packageOf(m *ast.Module) string { return strings.TrimPrefix(m.Package.Path.String(), "data.") }

// mark adds to each rule that counts a copy whose answers say where it stands.
func mark(m *ast.Module, file string) (found []Rule, faults []string) {
	var copies []*ast.Rule
	for _, r := range m.Rules {
		name := string(r.Head.Name)
		if ref := r.Head.Ref(); len(ref) > 0 {
			if head, ok := ref[0].Value.(ast.Var); ok {
				name = string(head)
			}
		}
		if name != deny && name != tighten {
			continue
		}
		if r.Default || len(r.Head.Ref()) != 1 || len(r.Head.Args) > 0 || r.Head.Key == nil || r.Head.RuleKind() != ast.MultiValue {
			faults = append(faults, fmt.Sprintf("%s:%d: %s has another form than '%s contains … if { … }'", file, r.Location.Row, name, name))
			continue
		}
		rule := Rule{Name: name, Package: packageOf(m), File: file, Line: r.Location.Row}
		found = append(found, rule)
		twin := r.Copy()
		twin.Head = ast.NewHead(ast.Var(marked+name), ast.ArrayTerm(ast.StringTerm(rule.String()), r.Head.Key.Copy()))
		twin.Head.Location, twin.Module = r.Head.Location, m
		copies = append(copies, twin)
	}
	m.Rules = append(m.Rules, copies...)
	return found, faults
}

// lines returns one line for each fault that OPA tells of.
func lines(err error) []string {
	var all ast.Errors
	if !errors.As(err, &all) {
		if err == nil {
			return nil
		}
		return []string{err.Error()}
	}
	var texts []string
	for _, e := range all {
		text := e.Message
		if e.Location != nil && e.Location.File != "" {
			text = fmt.Sprintf("%s:%d: %s", e.Location.File, e.Location.Row, e.Message)
		}
		if text = strings.ReplaceAll(text, marked, ""); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

func broken(faults []string) error {
	return &problem.Error{
		What: "site policy can't be used", Why: problem.Because(problem.ErrInvalid, strings.Join(faults, "\n")),
		Next: "Correct the rules; 'ds01 policy check /etc/ds01/policy' shows every fault.",
	}
}
