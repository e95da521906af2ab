package takeover

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// context is how many lines around a change are shown.
const context = 3

// Diff returns the unified diff between two texts of one path, "" where they
// are equal.
func Diff(path string, before, after []byte) string {
	if bytes.Equal(before, after) {
		return ""
	}
	a, b := lines(before), lines(after)
	edits := compare(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", name(path, before), name(path, after))
	for _, h := range hunks(edits) {
		h.write(&out)
	}
	return out.String()
}

func name(path string, text []byte) string {
	if text == nil {
		return "/dev/null"
	}
	return path
}

func lines(text []byte) []string {
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n\\ No newline at end of file\n"
		}
		all = append(all, line)
	}
	return all
}

// An edit is one line of both (' '), of the text before ('-') or after ('+').
type edit struct {
	mark byte
	line string
}

// compare finds the longest common lines. What is equal at both ends is left
// out first, so that the table stays small.
func compare(a, b []string) []edit {
	var head, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append([]edit{{' ', a[len(a)-1]}}, tail...)
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			head = append(head, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			head = append(head, edit{'-', a[i]})
			i++
		default:
			head = append(head, edit{'+', b[j]})
			j++
		}
	}
	return append(head, tail...)
}

// A hunk is a run of edits with what is around them. Before and after count
// the lines ahead of it.
type hunk struct {
	before, after int
	edits         []edit
}

func hunks(edits []edit) []hunk {
	near := make([]bool, len(edits))
	for i, e := range edits {
		if e.mark == ' ' {
			continue
		}
		for k := max(0, i-context); k <= min(len(edits)-1, i+context); k++ {
			near[k] = true
		}
	}
	var all []hunk
	before, after := 0, 0
	for i, e := range edits {
		if near[i] {
			if i == 0 || !near[i-1] {
				all = append(all, hunk{before: before, after: after})
			}
			all[len(all)-1].edits = append(all[len(all)-1].edits, e)
		}
		if e.mark != '+' {
			before++
		}
		if e.mark != '-' {
			after++
		}
	}
	return all
}

func (h hunk) write(out *strings.Builder) {
	ours, theirs := 0, 0
	for _, e := range h.edits {
		if e.mark != '+' {
			ours++
		}
		if e.mark != '-' {
			theirs++
		}
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h.before, ours), span(h.after, theirs))
	for _, e := range h.edits {
		out.WriteByte(e.mark)
		out.WriteString(e.line)
	}
}

// span is a range of lines as diff writes it: one that is empty is named by
// the line ahead of it.
func span(ahead, count int) string {
	if count == 0 {
		return fmt.Sprintf("%d,0", ahead)
	}
	return fmt.Sprintf("%d,%d", ahead+1, count)
}
