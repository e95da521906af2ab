package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/term"

	"ds01.dev/ds01/internal/problem"
)

// Colours, as the terminal's own numbers.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// terminal returns the descriptor of a stream that is a terminal.
func terminal(stream any) (int, bool) {
	file, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd := int(file.Fd())
	return fd, term.IsTerminal(fd)
}

// interactive reports whether somebody can answer a question.
func (a *app) interactive() bool {
	_, ok := terminal(a.In)
	return ok
}

// animated reports whether stdout and stderr are terminals, so that a line
// may be written over.
func (a *app) animated() bool {
	_, out := terminal(a.Out)
	_, err := terminal(a.Err)
	return out && err && a.env("TERM") != "dumb"
}

// paint colours text that goes to w, if w is a terminal and nobody minds.
func (a *app) paint(w io.Writer, colour, text string) string {
	if _, ok := terminal(w); !ok || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// unicode reports whether the person's locale shows more than ASCII.
func (a *app) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToUpper(a.env(name)); locale != "" {
			return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
		}
	}
	return false
}

// Where a bar warns, and how long it is.
const (
	barCells   = 20
	barWarning = 0.8
)

// bar draws how much of a limit is used, with marks at 80 and 100 %.
func (a *app) bar(used float64) string {
	warning, begin, end := "|", "[", "|"
	if a.unicode() {
		warning, begin, end = "┃", "▕", "▏"
	}
	cells := slices.Insert(a.cells(used), int(barWarning*barCells), warning)
	return begin + a.paint(a.Out, gauge(used), strings.Join(cells, "")) + end
}

// load draws how busy a device is, which is no limit and has no marks.
func (a *app) load(used float64) string { return strings.Join(a.cells(used), "") }

// cells fills a part of a bar; the least use shows.
func (a *app) cells(used float64) []string {
	full, empty := "#", "."
	if a.unicode() {
		full, empty = "█", "░"
	}
	n := int(min(max(used, 0), 1) * barCells)
	if used > 0 {
		n = max(n, 1)
	}
	return append(slices.Repeat([]string{full}, n), slices.Repeat([]string{empty}, barCells-n)...)
}

func gauge(used float64) string {
	switch {
	case used >= 1:
		return red
	case used >= barWarning:
		return yellow
	default:
		return green
	}
}

// printJSON prints v as the one document on stdout. Lists are never null.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.Out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// list makes an empty list of a missing one.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// withNext changes what an error of one kind tells to do next, where this
// command knows better than the daemon.
func withNext(err, kind error, next string) error {
	var p *problem.Error
	if !errors.Is(err, kind) || !errors.As(err, &p) {
		return err
	}
	better := *p
	better.Next = next
	return &better
}
