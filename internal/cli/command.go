package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// spec is one command as its file writes it.
type spec struct {
	use      string   // "list", "start NAME…": the name, then the arguments
	aliases  []string // other names people type
	short    string   // one line
	long     string   // what it does, and what it does not
	examples []string // command lines
	guide    string   // what --guided says before it begins
	exits    []int    // exit codes beside 0, 1 and 2
	passes   bool     // ends with the exit code of what it ran
	min, max int      // number of arguments; max < 0: any
	raw      bool     // flags end at the first argument
	hidden   bool
	json     *bool // where --json goes; nil: it prints no data
	flags    func(f *pflag.FlagSet)
	complete cobra.CompletionFunc // nil: completes nothing
	run      func(ctx context.Context, args []string) error
}

// Keys of the annotations that the help pages and the house rules read.
const (
	noteExits  = "exits"
	notePasses = "passes"
	noteGuide  = "guide"
)

// command builds the command that s describes.
func (a *app) command(s spec) *cobra.Command {
	c := &cobra.Command{
		Use: s.use, Aliases: s.aliases, Short: s.short, Long: s.long, Hidden: s.hidden,
		Example:               strings.Join(s.examples, "\n"),
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		ValidArgsFunction:     s.complete,
		Annotations:           map[string]string{noteExits: joinCodes(s.exits), noteGuide: s.guide},
	}
	if s.complete == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	if s.passes {
		c.Annotations[notePasses] = "true"
	}
	if s.json != nil {
		c.Flags().BoolVar(s.json, "json", false, "print one JSON document")
	}
	if s.flags != nil {
		s.flags(c.Flags())
	}
	c.Flags().SetInterspersed(!s.raw)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkCount(c, s, args); err != nil {
			return err
		}
		if err := a.explain(c.Context(), s.guide); err != nil {
			return err
		}
		return s.run(c.Context(), args)
	}
	return c
}

func joinCodes(further []int) string {
	codes := append([]int{exitDone, exitFailed, exitUsage}, further...)
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = strconv.Itoa(code)
	}
	return strings.Join(words, " ")
}

func checkCount(c *cobra.Command, s spec, args []string) error {
	next := "Write it as: " + c.UseLine() + ". More: " + c.CommandPath() + " --help."
	switch {
	case len(args) < s.min:
		words := strings.Fields(s.use)
		return usage("nothing to "+c.Name(), "the command needs "+strings.Join(words[1:], " "), next)
	case s.max >= 0 && len(args) > s.max:
		return usage(fmt.Sprintf("%q is too much", args[s.max]), fmt.Sprintf("the command takes %d at most", s.max), next)
	}
	return nil
}

// noun builds the command that holds the verbs of one topic.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Long: short + ".",
		Example:               verbs[0].Example,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Annotations:           map[string]string{noteExits: joinCodes(nil)},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(verbs...)
	return c
}

// unknownCommand is the error about a word that names no command, with the
// nearest one that does.
func unknownCommand(c *cobra.Command, word string) error {
	next := "Run '" + c.CommandPath() + " --help' for the list."
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(word); len(near) > 0 {
		slices.Sort(near)
		next = "Did you mean '" + c.CommandPath() + " " + strings.Join(near, "' or '"+c.CommandPath()+" ") + "'?"
	}
	return usage("unknown command '"+c.CommandPath()+" "+word+"'", "there is none of that name", next)
}

// explain says what happens next to a person who asked for --guided, and
// waits for Enter where somebody can press it.
func (a *app) explain(ctx context.Context, text string) error {
	if !a.guided || text == "" {
		return nil
	}
	fmt.Fprintln(a.Err, wrapText(text, "  | "))
	if !a.interactive() {
		return nil
	}
	return a.form(ctx).Pause("  Press Enter to go on. ")
}
