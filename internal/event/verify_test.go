package event_test

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/event"
)

// forge changes a line and computes its hash anew, as somebody would who
// knows how.
func forge(line, from, to string) string {
	body := strings.Replace(line[:strings.LastIndex(line, `,"hash"`)], from, to, 1) + "}"
	sum := sha256.Sum256([]byte(body))
	return body[:len(body)-1] + `,"hash":"` + hex.EncodeToString(sum[:]) + `"}`
}

func numbered(lines [][]byte, torn bool) iter.Seq[event.Line] {
	return func(yield func(event.Line) bool) {
		for i, text := range lines {
			if !yield(event.Line{File: "f", Number: i + 1, Text: text, Torn: torn && i == len(lines)-1}) {
				return
			}
		}
	}
}

func TestVerifyFindsTheFirstBadLine(t *testing.T) {
	insert := func(lines [][]byte, at int, line string) [][]byte { return slices.Insert(lines, at, []byte(line)) }
	for name, c := range map[string]struct {
		change func(lines [][]byte) [][]byte
		number int
		kind   event.Kind
	}{
		"nothing is wrong": {func(l [][]byte) [][]byte { return l }, 0, ""},
		"one letter is another": {func(l [][]byte) [][]byte {
			l[3] = []byte(strings.Replace(string(l[3]), "alice", "malice", 1))
			return l
		}, 4, event.Edited},
		"a line is rewritten with a hash that fits it": {func(l [][]byte) [][]byte {
			l[3] = []byte(forge(string(l[3]), "alice", "malice"))
			return l
		}, 4, event.Edited},
		"a line is gone":                {func(l [][]byte) [][]byte { return slices.Delete(l, 3, 4) }, 4, event.Removed},
		"several lines are gone":        {func(l [][]byte) [][]byte { return slices.Delete(l, 3, 7) }, 4, event.Removed},
		"two lines have changed places": {func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l }, 4, event.Reordered},
		"a line is far too late":        {func(l [][]byte) [][]byte { return append(slices.Delete(slices.Clone(l), 3, 4), l[3]) }, 4, event.Reordered},
		"a line is there twice":         {func(l [][]byte) [][]byte { return insert(l, 4, string(l[3])) }, 5, event.Inserted},
		"an old line comes again":       {func(l [][]byte) [][]byte { return insert(l, 6, string(l[1])) }, 7, event.Inserted},
		"a made-up line with a number to come": {func(l [][]byte) [][]byte {
			return insert(l, 4, forge(string(l[3]), `"seq":4`, `"seq":400`))
		}, 5, event.Inserted},
		"a made-up line with the right number": {func(l [][]byte) [][]byte {
			return insert(l, 4, forge(string(l[3]), `"seq":4`, `"seq":5`))
		}, 5, event.Inserted},
		"the last line has another number": {func(l [][]byte) [][]byte {
			l[8] = []byte(forge(string(l[8]), `"seq":9`, `"seq":12`))
			return l
		}, 9, event.Removed},
		"a line is cut off in the middle": {func(l [][]byte) [][]byte { l[3] = l[3][:40]; return l }, 4, event.Truncated},
		"something else stands there":     {func(l [][]byte) [][]byte { return insert(l, 2, "# a remark") }, 3, event.Edited},
		"the beginning is gone":           {func(l [][]byte) [][]byte { return l[3:] }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			report := event.Verify(numbered(c.change(sealed(t, 9)), false))
			switch {
			case c.kind == "" && report.Bad != nil:
				t.Errorf("%+v", *report.Bad)
			case c.kind == "":
			case report.Bad == nil:
				t.Error("nothing was found")
			case report.Bad.Kind != c.kind || report.Bad.Number != c.number || report.Bad.Why == "":
				t.Errorf("got %+v, want line %d %s", *report.Bad, c.number, c.kind)
			}
			if report.Torn != nil {
				t.Error("it isn't torn")
			}
		})
	}
}

func TestATornLastLineIsNoTampering(t *testing.T) {
	lines := sealed(t, 3)
	whole := event.Verify(numbered(lines, true)) // only the line break is missing
	if whole.Bad != nil || whole.Torn != nil || whole.Lines != 3 {
		t.Errorf("%+v", whole)
	}
	lines[2] = lines[2][:50]
	torn := event.Verify(numbered(lines, true))
	if torn.Bad != nil || torn.Torn == nil || torn.Torn.Number != 3 || torn.Lines != 2 || torn.Last.Seq != 2 {
		t.Errorf("%+v", torn)
	}
	if cut := event.Verify(numbered(lines, false)); cut.Bad == nil || cut.Torn != nil {
		t.Errorf("with a line break nobody was interrupted: %+v", cut)
	}
	if none := event.Verify(numbered(nil, false)); none.Bad != nil || none.Lines != 0 {
		t.Errorf("%+v", none)
	}
}

// Whatever one does to a line or to the order of lines is found, unless it is
// the end or the beginning that is taken away.
func TestEveryChangeIsFound(t *testing.T) {
	all := sealed(t, 12)
	rapid.Check(t, func(t *rapid.T) {
		lines := slices.Clone(all)
		i := rapid.IntRange(0, len(lines)-2).Draw(t, "line")
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			line := slices.Clone(lines[i])
			at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
			line[at] ^= byte(1 << rapid.IntRange(0, 6).Draw(t, "bit"))
			lines[i] = line
		case 1:
			lines = slices.Delete(lines, max(i, 1), max(i, 1)+1)
		case 2:
			lines = slices.Insert(lines, i+1, lines[rapid.IntRange(0, len(lines)-1).Draw(t, "copy")])
		case 3:
			j := rapid.IntRange(0, len(lines)-1).Draw(t, "with")
			if i == j {
				return
			}
			lines[i], lines[j] = lines[j], lines[i]
		}
		if report := event.Verify(numbered(lines, false)); report.Bad == nil {
			t.Fatalf("nothing was found in\n%s", lines)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, line := range sealed(f, 2) {
		f.Add(line)
		f.Add(line[:len(line)/2])
	}
	f.Add([]byte(forge(string(sealed(f, 1)[0]), `"seq":1`, `"seq":18446744073709551615`)))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := event.Parse(line)
		if err != nil {
			return
		}
		if e.Seq == 0 || len(e.Hash) != 64 {
			t.Errorf("%+v", e)
		}
		if report := event.Verify(numbered([][]byte{line}, false)); report.Bad != nil || report.Lines != 1 {
			t.Errorf("%+v", report)
		}
	})
}
