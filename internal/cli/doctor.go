package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) doctor() *cobra.Command {
	var asJSON bool
	var attack redTeamFlags
	var fix, yes bool
	return a.command(spec{
		use:   "doctor",
		short: "Check what works for you and what is missing",
		long: "Checks the daemon, the engine, the GPUs, your groups and your quota, and says for each thing that is\n" +
			"missing what to do and whom to ask. It ends with 0 if nothing fails; warnings don't count.\n" +
			"What was left over of containers that have gone, it lists; with --fix, which is for administrators, it takes\n" +
			"away what is safe to be, and asks before. Nothing that is in use is touched.\n" +
			"With --red-team it attacks the gateway instead, as an ordinary account, with containers and files that it\n" +
			"makes and removes, and says what came of each attempt. It ends with 1 if anything did.",
		examples: []string{"ds01 doctor", "ds01 doctor --json", "ds01 doctor --fix", "ds01 doctor --red-team --user alice --image busybox"},
		guide:    "This looks at everything you need for a container, and says what is missing. It changes nothing.",
		exits:    []int{3, 5, 7, exitInterrupted}, json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&fix, "fix", false, "take away what was left over, where that is safe (admins)")
			f.BoolVarP(&yes, "yes", "y", false, "with --fix: don't ask")
			f.StringVar(&attack.image, "image", "", "with --red-team: a local image that has sh (default: the configured one)")
			f.StringVar(&attack.only, "only", "", "with --red-team: vectors whose names begin with this `PREFIX`")
			f.BoolVar(&attack.on, "red-team", false, "attack the gateway, and see that nothing comes of it")
			f.StringVar(&attack.user, "user", "", "with --red-team, as root: attack as the account called `NAME`")
		},
		run: func(ctx context.Context, _ []string) error {
			if attack.on && !fix {
				return a.redTeam(ctx, attack, asJSON)
			}
			if attack != (redTeamFlags{}) {
				return usage("--image, --only and --user belong to --red-team", "doctor alone checks for you", "Add --red-team, or leave them away.")
			}
			if yes && !fix {
				return usage("--yes belongs to --fix", "doctor alone changes nothing", "Add --fix, or leave it away.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if fix {
				return a.fix(ctx, c, yes, asJSON)
			}
			found, err := c.Doctor(ctx)
			verdict := error(nil)
			switch {
			case ctx.Err() != nil:
				return err
			case err != nil:
				found.Checks = []apitype.Check{unreached(err)}
				verdict = exitError(problem.ExitCode(err))
			}
			found.Checks = append(found.Checks, a.clientChecks(ctx)...)
			if verdict == nil && failing(found.Checks) {
				verdict = exitError(exitFailed)
			}
			if asJSON {
				found.Checks, found.Orphans = list(found.Checks), list(found.Orphans)
				if err := a.printJSON(found); err != nil {
					return err
				}
				return verdict
			}
			a.writeChecks(found.Checks)
			a.writeOrphans(found.Orphans)
			return verdict
		},
	})
}

// unreached is the one finding while the daemon can't be asked.
func unreached(err error) apitype.Check {
	check := apitype.Check{Name: "daemon", Result: apitype.CheckFail, Detail: err.Error()}
	if p, ok := errors.AsType[*problem.Error](err); ok {
		check.Next = p.Next
	}
	return check
}

func failing(checks []apitype.Check) bool {
	for _, check := range checks {
		if check.Result == apitype.CheckFail {
			return true
		}
	}
	return false
}

func (a *app) writeChecks(checks []apitype.Check) {
	colours := map[string]string{apitype.CheckOK: green, apitype.CheckWarn: yellow, apitype.CheckFail: red}
	var t table
	for _, check := range checks {
		t.add(a.paint(a.Out, colours[check.Result], check.Result), check.Name, check.Detail)
		if check.Next != "" {
			t.add("", "", "→ "+check.Next)
		}
	}
	t.write(a.Out)
	if !failing(checks) {
		fmt.Fprintln(a.Out, "Nothing fails.")
	}
}
