package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/rego"
)

// sitePolicy is the site's own rules in force. It is safe for concurrent use.
type sitePolicy struct {
	folder string
	log    *slog.Logger

	mu    sync.Mutex
	rules *rego.Policy // nil: there are none, or none yet that compiled
	bad   error        // why the files on disk aren't in force
}

// reload reads the rules again. While they are broken, those that were in force
// stay, and without any nothing is allowed that rules would judge.
func (p *sitePolicy) reload(ctx context.Context) error {
	rules, err := readPolicy(p.folder)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bad = err; err != nil {
		return err
	}
	if p.rules = rules; rules != nil {
		p.log.InfoContext(ctx, "site policy in force", "folder", p.folder, "rules", len(rules.Rules()))
	}
	return nil
}

// readPolicy compiles the rules in a folder; without files there are none, nil.
func readPolicy(folder string) (*rego.Policy, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, policyUnread(err)
	}
	var files []rego.File
	for _, e := range entries {
		f := rego.File{Name: filepath.Join(folder, e.Name())}
		if !strings.HasSuffix(f.Name, ".rego") || f.IsTest() {
			continue
		}
		if f.Text, err = os.ReadFile(f.Name); err != nil {
			return nil, policyUnread(err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // no rules are a good answer
	}
	return rego.Compile(files)
}

func policyUnread(err error) error {
	return &problem.Error{What: "site policy not read", Why: problem.Because(problem.ErrUnavailable, err.Error()), Next: "Make the folder and its files readable for root."}
}

// current returns the rules to ask, or nil where there are none.
func (p *sitePolicy) current() launcher.Rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.rules != nil:
		return p.rules
	case p.bad != nil:
		return noPolicy{p.bad}
	}
	return nil
}

// problem says why the files on disk aren't in force, and whether others are.
func (p *sitePolicy) problem() (why string, others bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bad == nil {
		return "", false
	}
	return strings.ReplaceAll(p.bad.Error(), "\n", "; "), p.rules != nil
}

// count returns how many rules are in force.
func (p *sitePolicy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rules == nil {
		return 0
	}
	return len(p.rules.Rules())
}

// noPolicy stands for rules that never compiled.
type noPolicy struct{ why error }

// Judge refuses everything.
func (n noPolicy) Judge(context.Context, policy.Input) (policy.Verdict, error) {
	return policy.Verdict{}, fmt.Errorf("no rules are in force: %w", n.why)
}
