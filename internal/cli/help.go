package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeHelp prints a command's help page.
func writeHelp(w io.Writer, c *cobra.Command) {
	fmt.Fprintln(w, c.Long)
	fmt.Fprintf(w, "\nUsage:\n  %s\n", useLine(c))
	if len(c.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso known as:\n  %s\n", strings.Join(c.Aliases, ", "))
	}
	if verbs := shownCommands(c); len(verbs) > 0 {
		fmt.Fprintln(w, "\nCommands:")
		list := table{indent: "  "}
		for _, verb := range verbs {
			list.add(verb.Name(), verb.Short)
		}
		list.write(w)
	}
	fmt.Fprintf(w, "\nExamples:\n%s\n", indent(c.Example, "  "))
	writeFlags(w, "Flags", c.LocalNonPersistentFlags())
	writeFlags(w, "Flags everywhere", persistentFlags(c))
	fmt.Fprintln(w, "\nExit codes:")
	codes := table{indent: "  "}
	for _, row := range exitRows(c) {
		codes.add(row...)
	}
	codes.write(w)
}

func useLine(c *cobra.Command) string {
	line := c.UseLine()
	if len(shownCommands(c)) > 0 {
		return line + " COMMAND"
	}
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		words := strings.Fields(c.CommandPath())
		return strings.Join(words, " ") + " [FLAGS]" + strings.TrimPrefix(line, c.CommandPath())
	}
	return line
}

// shownCommands lists the commands under c that people shall see.
func shownCommands(c *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands()), func(c *cobra.Command) bool { return c.Hidden })
}

// persistentFlags are those of c and of everything above it.
func persistentFlags(c *cobra.Command) *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	flags.AddFlagSet(c.InheritedFlags())
	flags.AddFlagSet(c.PersistentFlags())
	return flags
}

func writeFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s:\n%s", title, flags.FlagUsages())
	}
}

// exitRows are the exit codes of c with their meanings.
func exitRows(c *cobra.Command) [][]string {
	own := strings.Fields(c.Annotations[noteExits])
	var rows [][]string
	for _, e := range exitCodes() {
		if code := fmt.Sprint(e.code); slices.Contains(own, code) {
			rows = append(rows, []string{code, e.meaning})
		}
	}
	if c.Annotations[notePasses] != "" {
		rows = append(rows, []string{"other", "what the command in the container ended with"})
	}
	return rows
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(text, "\n", "\n"+by)
}

const textWidth = 76

// wrapText breaks text into lines that begin with by. Line breaks in it stay.
func wrapText(text, by string) string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			if line != "" && len([]rune(line))+1+len([]rune(word)) > textWidth {
				lines = append(lines, line)
				line = ""
			}
			line = strings.TrimLeft(line+" "+word, " ")
		}
		lines = append(lines, line)
	}
	return indent(strings.Join(lines, "\n"), by)
}
