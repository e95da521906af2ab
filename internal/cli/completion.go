package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) completion() *cobra.Command {
	var c *cobra.Command
	c = a.command(spec{
		use:   "completion bash|zsh|fish",
		short: "Print a shell's completion script",
		long: "Prints a script with which the Tab key completes commands, flags, and the names of containers, GPUs and\n" +
			"people, which it asks the daemon for.",
		examples: []string{
			"ds01 completion bash > /etc/bash_completion.d/ds01",
			"ds01 completion zsh > /usr/share/zsh/vendor-completions/_ds01",
			"ds01 completion fish > ~/.config/fish/completions/ds01.fish",
		},
		guide: "This prints a script for your shell. Save it where the shell looks for such scripts, as the examples show.",
		min:   1, max: 1, complete: cobra.FixedCompletions([]string{"bash", "zsh", "fish"}, cobra.ShellCompDirectiveNoFileComp),
		run: func(_ context.Context, args []string) error { return a.writeCompletion(c.Root(), args[0]) },
	})
	return c
}

// writeCompletion prints cobra's script for ds01 and, behind it, what makes
// the same function complete the other names of the binary.
func (a *app) writeCompletion(root *cobra.Command, shell string) error {
	var err error
	names := strings.Join(Links(), " ")
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(a.Out, true)
		fmt.Fprintf(a.Out, "\ncomplete -o default -F __start_ds01 %s\n", names)
	case "zsh":
		err = root.GenZshCompletion(a.Out)
		fmt.Fprintf(a.Out, "\ncompdef _ds01 %s\n", names)
	case "fish":
		err = root.GenFishCompletion(a.Out, true)
		fmt.Fprintf(a.Out, "\nfor name in %s\n    complete -c $name -w ds01\nend\n", names)
	default:
		return usage("no completion for "+shell, "the shell is not known", "Write bash, zsh or fish.")
	}
	if err != nil {
		return fmt.Errorf("write the completion script: %w", err)
	}
	return nil
}
