package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// verdict is what verify says as JSON.
type verdict struct {
	Whole    bool   `json:"whole"`
	Files    int    `json:"files"`
	Lines    int    `json:"lines"`
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	LastHash string `json:"last_hash"`
	Torn     bool   `json:"torn"`
	File     string `json:"file,omitempty"` // where it is broken
	Line     int    `json:"line,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Why      string `json:"why,omitempty"`
}

func (a *app) auditVerify() *cobra.Command {
	var asJSON bool
	var holds string
	return a.command(spec{
		use:   "verify [FILE…]",
		short: "Check that the audit log is whole",
		long: "Reads the audit log's files, also those that were moved aside and compressed, and checks that each line\n" +
			"follows the one before. Files come in any order; a folder stands for the log in it. Without any it is this\n" +
			"host's log. The first bad line is named with its reason: edited, removed, inserted, reordered or truncated.\n" +
			"What was cut off at the end can't be seen, unless you know a hash that was there: --holds.\n" +
			"It reads with your own rights and needs no daemon.",
		examples: []string{"ds01 audit verify", "ds01 audit verify /backup/log", "ds01 audit verify --holds 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4 --json"},
		guide:    "This reads the log of who did what, and says whether anybody has changed it. It changes nothing.",
		exits:    []int{3, 5}, max: -1, json: &asJSON, complete: completeFiles,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&holds, "holds", "", "the `HASH` of a line that must be there")
		},
		run: func(_ context.Context, args []string) error {
			var v verdict
			err := audit.Unmoved(func() ([]string, error) { return logFiles(args) }, func(files []string) (err error) {
				v, err = verify(files, holds)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				if err := a.printJSON(v); err != nil {
					return err
				}
			} else {
				a.writeVerdict(v)
			}
			if !v.Whole {
				return exitError(exitFailed)
			}
			return nil
		},
	})
}

// logFiles returns the files to check, oldest first.
func logFiles(args []string) ([]string, error) {
	own := config.PathsUnder("").Audit
	if len(args) == 0 {
		args = []string{filepath.Dir(own)}
	}
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, unreadable(arg, err)
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		found, err := audit.Files(filepath.Join(arg, filepath.Base(own)))
		if err != nil {
			return nil, unreadable(arg, err)
		}
		if len(found) == 0 {
			return nil, unreadable(arg, fmt.Errorf("no %s is in it: %w", filepath.Base(own), fs.ErrNotExist))
		}
		files = append(files, found...)
	}
	ordered, err := audit.InOrder(files)
	if err != nil {
		return nil, unreadable("the log", err)
	}
	return ordered, nil
}

// unreadable gives an error of reading files its kind.
func unreadable(what string, err error) error {
	p := &problem.Error{What: "cannot read " + what, Why: err, Next: "Name the log's files, or its folder."}
	switch {
	case errors.Is(err, fs.ErrPermission):
		p.Why, p.Next = problem.Because(problem.ErrDenied, err.Error()), "Only root may read it: run it with sudo. 'ds01 audit show' asks the daemon."
	case errors.Is(err, fs.ErrNotExist):
		p.Why = problem.Because(problem.ErrNotFound, err.Error())
	}
	return p
}

func verify(files []string, holds string) (verdict, error) {
	var failed error
	held := holds == ""
	lines := func(yield func(event.Line) bool) {
		for l := range audit.Lines(files, &failed) {
			if !held {
				e, err := event.Parse(l.Text)
				held = err == nil && e.Hash == holds
			}
			if !yield(l) {
				return
			}
		}
	}
	report := event.Verify(lines)
	if failed != nil {
		return verdict{}, unreadable("the log", failed)
	}
	v := verdict{
		Whole: report.Bad == nil, Files: len(files), Lines: report.Lines, FirstSeq: report.First.Seq,
		LastSeq: report.Last.Seq, LastHash: report.Last.Hash, Torn: report.Torn != nil,
	}
	if bad := report.Bad; bad != nil {
		v.File, v.Line, v.Kind, v.Why = bad.File, bad.Number, string(bad.Kind), bad.Why
	} else if !held {
		v.Whole, v.Kind, v.Why = false, string(event.Removed), "no line has the hash "+holds
	}
	return v, nil
}

func (a *app) writeVerdict(v verdict) {
	switch {
	case v.Whole:
		fmt.Fprintf(a.Out, "%s: %d lines in %d files, numbers %d to %d.\n", a.paint(a.Out, green, "Whole"), v.Lines, v.Files, v.FirstSeq, v.LastSeq)
		fmt.Fprintf(a.Out, "Last hash: %s\n", v.LastHash)
		if v.FirstSeq > 1 {
			fmt.Fprintln(a.Out, "What was before the first number is in files that are gone.")
		}
	case v.File != "":
		fmt.Fprintf(a.Out, "%s: %s, line %d: %s: %s.\n", a.paint(a.Out, red, "Broken"), v.File, v.Line, v.Kind, v.Why)
		fmt.Fprintf(a.Out, "The %d lines before it are whole.\n", v.Lines)
	default:
		fmt.Fprintf(a.Out, "%s: %s: %s.\n", a.paint(a.Out, red, "Broken"), v.Kind, v.Why)
	}
	if v.Torn {
		fmt.Fprintln(a.Out, "The last line is cut off, as a crash leaves it; the daemon sets it aside when it starts.")
	}
}
