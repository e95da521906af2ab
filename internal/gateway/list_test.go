package gateway

import (
	"testing"

	"ds01.dev/ds01/internal/container"
)

func TestAListIsAnsweredAgainWhileItWouldBeTheSame(t *testing.T) {
	records := []container.Record{{Login: "alice"}}
	changed := []container.Record{{Login: "bob"}}
	alice := asking{uid: 1001}
	admin, filtered, few := alice, alice, alice
	admin.admin, filtered.filters, few.limit = true, `{"name":["web"]}`, "1"
	var l listing
	for _, c := range []struct {
		why     string
		theirs  string
		by      asking
		records []container.Record
		again   bool
	}{
		{"the first", `[{"Id":"1"}]`, alice, records, false},
		{"the same", `[{"Id":"1"}]`, alice, records, true},
		{"the engine's has changed", `[{"Id":"1","Names":[]}]`, alice, records, false},
		{"the same as that", `[{"Id":"1","Names":[]}]`, alice, records, true},
		{"once more", `[{"Id":"1","Names":[]}]`, alice, records, true},
		{"and back", `[{"Id":"1"}]`, alice, records, false},
		{"a record has", `[{"Id":"1"}]`, alice, changed, false},
		{"none is left", `[{"Id":"1"}]`, alice, nil, false},
		{"for an administrator", `[{"Id":"1"}]`, admin, nil, false},
		{"with filters", `[{"Id":"1"}]`, filtered, nil, false},
		{"with a limit", `[{"Id":"1"}]`, few, nil, false},
		{"the same with that", `[{"Id":"1"}]`, few, nil, true},
		{"for somebody else", `[{"Id":"1"}]`, asking{uid: 1002, limit: "1"}, nil, false},
	} {
		l.begin()
		l.theirs.WriteString(c.theirs)
		if got := l.again(c.by, c.records); got != c.again {
			t.Errorf("%s: again: %t", c.why, got)
		} else if !got {
			l.ours, _ = editElements(l.ours[:0], l.theirs.Bytes(), l.rowEnd, func(out, row []byte) ([]byte, error) { return append(out, row...), nil })
		}
		if len(l.rows) != 1 || string(l.rows[0]) != c.theirs[1:len(c.theirs)-1] || string(l.ours) != c.theirs {
			t.Errorf("%s: the rows are %q, and it is %s", c.why, l.rows, l.ours)
		}
	}
}
