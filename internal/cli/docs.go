package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// docs prints docs/users/commands.md, which a test compares with the tree.
func (a *app) docs() *cobra.Command {
	var c *cobra.Command
	c = a.command(spec{
		use:      "docs",
		short:    "Print the page of all commands",
		long:     "Prints docs/users/commands.md.",
		examples: []string{"ds01 docs > docs/users/commands.md"},
		guide:    "This prints a page of documentation.",
		hidden:   true,
		run: func(context.Context, []string) error {
			fmt.Fprint(a.Out, "# Commands\n\nWritten by `ds01 docs`; each page is what `--help` shows.\n")
			writeLinks(a.Out)
			writePages(a.Out, c.Root())
			return nil
		},
	})
	return c
}

func writeLinks(w io.Writer) {
	fmt.Fprint(w, "\nThe binary has other names, too, as people type them:\n\n| name | stands for |\n|---|---|\n")
	for _, l := range links() {
		fmt.Fprintf(w, "| `%s` | `ds01 %s` |\n", l.name, l.command)
	}
}

// writePages prints a section for each command that does something.
func writePages(w io.Writer, c *cobra.Command) {
	verbs := shownCommands(c)
	if len(verbs) == 0 {
		var page strings.Builder
		writeHelp(&page, c)
		fmt.Fprintf(w, "\n## %s\n\n%s.\n\n```text\n%s```\n", c.CommandPath(), c.Short, page.String())
	}
	for _, verb := range verbs {
		writePages(w, verb)
	}
}
