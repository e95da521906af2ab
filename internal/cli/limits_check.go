package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) limitsCheck() *cobra.Command {
	return a.command(spec{
		use:   "check FILE",
		short: "Check a limits file",
		long: "Reads a limits file, and groups/*.members beside it, as the daemon would, and prints everything that is\n" +
			"wrong or outdated with file and line. It needs no daemon. With a warning alone it ends with 0.",
		examples: []string{"ds01 limits check /etc/ds01/resource-limits.yaml"},
		guide:    "This reads the limits file without putting it into force, and says what the daemon would say about it.",
		min:      1, max: 1, complete: completeFiles,
		run: func(_ context.Context, args []string) error {
			main, err := readLimits(args[0])
			if err != nil {
				return err
			}
			members, err := readMembers(filepath.Dir(args[0]))
			if err != nil {
				return err
			}
			_, warnings, err := limits.Decode(main, members)
			for _, w := range warnings {
				fmt.Fprintln(a.Err, a.paint(a.Err, yellow, "Warning:")+" "+w.String())
			}
			if err != nil {
				for line := range strings.Lines(err.Error() + "\n") {
					fmt.Fprint(a.Err, a.paint(a.Err, red, "Error:")+" "+line)
				}
				return exitError(exitFailed)
			}
			fmt.Fprintf(a.Out, "%s is good.\n", args[0])
			return nil
		},
	})
}

func readLimits(path string) (limits.File, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the person names the file and reads it with their own rights
	if err != nil {
		return limits.File{}, &problem.Error{
			What: "cannot read " + path, Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Name a limits file that you may read.",
		}
	}
	return limits.File{Name: path, Data: text}, nil
}

// readMembers reads groups/<group>.members beside a limits file, by group.
func readMembers(dir string) (map[string]limits.File, error) {
	const ending = ".members"
	paths, err := filepath.Glob(filepath.Join(dir, "groups", "*"+ending))
	if err != nil {
		return nil, fmt.Errorf("look for members files: %w", err)
	}
	members := map[string]limits.File{}
	for _, path := range paths {
		file, err := readLimits(path)
		if err != nil {
			return nil, err
		}
		members[strings.TrimSuffix(filepath.Base(path), ending)] = file
	}
	return members, nil
}
