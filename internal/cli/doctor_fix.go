package cli

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

// writeOrphans lists what was left over, and what becomes of each.
func (a *app) writeOrphans(orphans []apitype.Orphan) {
	if len(orphans) == 0 {
		return
	}
	fmt.Fprintln(a.Out, "\nLeft over:")
	t := table{indent: "  "}
	for _, o := range orphans {
		t.add(o.Kind, o.Object, o.Why)
		if o.Fix != "" {
			t.add("", "", "→ --fix: "+o.Fix)
		} else {
			t.add("", "", "→ "+o.Next)
		}
	}
	t.write(a.Out)
}

// fix takes away what was left over and may go, once somebody has seen the list.
func (a *app) fix(ctx context.Context, c *client.Client, yes, asJSON bool) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	if !me.Admin {
		return &problem.Error{
			What: "Nothing taken away", Why: problem.Because(problem.ErrDenied, me.User+" doesn't administer this host"),
			Next: "'ds01 doctor' lists what is left over of yours; ask your administrators.",
		}
	}
	found, err := c.Doctor(ctx)
	if err != nil {
		return err
	}
	safe := []apitype.Orphan{}
	for _, o := range found.Orphans {
		if o.Fix != "" {
			safe = append(safe, o)
		}
	}
	if !asJSON {
		a.writeOrphans(found.Orphans)
	}
	if len(safe) > 0 && !yes {
		if err := a.confirm(ctx, fmt.Sprintf("Take away %d of them?", len(safe))); err != nil {
			return err
		}
	}
	done, err := c.Fix(ctx, safe)
	if err != nil {
		return err
	}
	if asJSON {
		if err := a.printJSON(list(done)); err != nil {
			return err
		}
	}
	return a.fixed(done, asJSON)
}

// fixed tells what became of each. It fails where something is still there.
func (a *app) fixed(done []apitype.Fixed, quiet bool) error {
	verdict := error(nil)
	for _, d := range done {
		what := "taken away"
		if d.Error != "" {
			what, verdict = "still there: "+d.Error, exitError(exitFailed)
		}
		if !quiet {
			fmt.Fprintf(a.Out, "%s %s: %s.\n", d.Kind, d.Object, what)
		}
	}
	if len(done) == 0 && !quiet {
		fmt.Fprintln(a.Out, "Nothing to take away.")
	}
	return verdict
}
