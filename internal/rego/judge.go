package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"

	"ds01.dev/ds01/internal/policy"
)

// deadline is how long all rules together may take over one request. They take
// a few milliseconds; the rest is for a host that is busy with other things.
const deadline = time.Second

// errLate is the error of rules that take too long.
var errLate = errors.New("the rules took too long")

// Judge asks every rule about one request. Over the deadline, and where a rule
// fails or answers what it may not, it is an error.
func (p *Policy) Judge(ctx context.Context, in policy.Input) (policy.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Deadline)
	defer cancel()
	value, err := ast.InterfaceToValue(in)
	if err != nil {
		return policy.Verdict{}, fmt.Errorf("encode the input: %w", err)
	}
	result, err := p.ask(ctx, p.query, ast.NewTerm(value))
	if err == errLate { //nolint:errorlint // it is never wrapped
		return policy.Verdict{}, fmt.Errorf("the rules took longer than %v", p.Deadline)
	}
	if err != nil {
		return policy.Verdict{}, err
	}
	denied, err := findings(result["denied"])
	if err != nil {
		return policy.Verdict{}, err
	}
	tightened, err := findings(result["tightened"])
	if err != nil {
		return policy.Verdict{}, err
	}
	return policy.Read(denied, tightened)
}

// ask evaluates a compiled query that has one answer. Whoever waits goes on at
// the deadline, also where a function doesn't hear of it: that keeps its slot
// until it ends.
func (p *Policy) ask(ctx context.Context, query ast.Body, input *ast.Term) (map[ast.Var]*ast.Term, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, errLate
	}
	type answer struct {
		result map[ast.Var]*ast.Term
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() { <-p.slots }()
		defer func() {
			if broken := recover(); broken != nil {
				answered <- answer{err: fmt.Errorf("the rules broke OPA: %v", broken)}
			}
		}()
		result, err := p.evaluate(ctx, query, input)
		answered <- answer{result, err}
	}()
	select {
	case a := <-answered:
		if topdown.IsCancel(a.err) {
			return nil, errLate
		}
		return a.result, a.err
	case <-ctx.Done():
		return nil, errLate
	}
}

func (p *Policy) evaluate(ctx context.Context, query ast.Body, input *ast.Term) (map[ast.Var]*ast.Term, error) {
	halt := topdown.NewCancel()
	defer context.AfterFunc(ctx, halt.Cancel)()
	txn, err := p.store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return nil, fmt.Errorf("ask the rules: %w", err)
	}
	defer p.store.Abort(ctx, txn)
	q := topdown.NewQuery(query).WithCompiler(p.compiler).WithStore(p.store).WithTransaction(txn).
		WithCancel(halt).WithStrictBuiltinErrors(true).WithTime(time.Unix(0, 0))
	if input != nil {
		q = q.WithInput(input)
	}
	results, err := q.Run(ctx)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("the rules have %d answers, not one", len(results))
	}
	return results[0], nil
}

// findings reads the sets of pairs that the marked rules of each package came
// to.
func findings(answer *ast.Term) ([]policy.Finding, error) {
	if answer == nil {
		return nil, errNonsense
	}
	packages, ok := answer.Value.(*ast.Array)
	if !ok {
		return nil, errNonsense
	}
	var all []policy.Finding
	err := packages.Iter(func(one *ast.Term) error {
		set, ok := one.Value.(ast.Set)
		if !ok {
			return errNonsense
		}
		return set.Iter(func(pair *ast.Term) error {
			f, err := finding(pair)
			all = append(all, f)
			return err
		})
	})
	return all, err
}

var errNonsense = errors.New("the rules' answer isn't of the form that ds01 asked for")

func finding(pair *ast.Term) (policy.Finding, error) {
	list, ok := pair.Value.(*ast.Array)
	if !ok || list.Len() != 2 {
		return policy.Finding{}, errNonsense
	}
	rule, ok := list.Elem(0).Value.(ast.String)
	if !ok {
		return policy.Finding{}, errNonsense
	}
	value, err := ast.JSON(list.Elem(1).Value)
	if err != nil {
		return policy.Finding{}, fmt.Errorf("%s: %w", rule, err)
	}
	text, err := json.Marshal(value)
	return policy.Finding{Rule: string(rule), Value: text}, err
}
