package redteam

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WritePage writes docs/admins/red-team-vectors.md, which a test compares
// with the tables.
func WritePage(w io.Writer) {
	all := Vectors()
	fmt.Fprintf(w, "# What the red team tries\n\nWritten from the tables in `internal/redteam`: %d vectors on %d topics. A vector may\nstand under several topics.\n", len(all), len(Topics()))
	for _, t := range Topics() {
		fmt.Fprintf(w, "\n## %d. %s\n\n", t.Number, strings.ToUpper(t.Says[:1])+t.Says[1:])
		if t.Elsewhere != "" {
			fmt.Fprintf(w, "No request can try it: %s.\n", t.Elsewhere)
		}
		for _, v := range all {
			if !slices.Contains(v.Topics, t.Number) {
				continue
			}
			lab := ""
			if v.LabOnly != "" {
				lab = " (in a lab only)"
			}
			fmt.Fprintf(w, "- `%s`: %s%s\n", v.ID, v.Says, lab)
		}
	}
}
