package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzEditsKeepWhatTheyDoNotTouch compares an edited list with the same edit
// on the decoded one: the editor finds values by their ends alone.
func FuzzEditsKeepWhatTheyDoNotTouch(f *testing.F) {
	for _, seed := range []string{
		`[]`, " [ ] \n", `[{"Id":"a","Names":["/x"],"Labels":{"k":"}]\"\\"},"Mounts":[{"Source":"/s"},{}]}]`,
		`[{"Id":"\\"},{"Ports":[{"n":-1.5e3}],"Id":null,"x":true}]`, `[{},{"":{}},{"Id":{"Id":"inner"}}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want []map[string]any
		if json.Unmarshal([]byte(text), &want) != nil || want == nil || strings.Contains(text, `\u`) {
			return // the engine writes JSON, its keys without escapes
		}
		for _, row := range want {
			if row == nil {
				return // and its lists hold objects
			}
			for _, key := range []string{"Image", "none"} {
				if _, ok := row[key]; ok {
					row[key] = "ours"
				}
			}
		}
		out, err := editArray(nil, []byte(text), func(out, row []byte) ([]byte, error) {
			return editObject(out, row, []string{"Image", "none"}, func(out []byte, _ string, _ []byte) ([]byte, error) {
				return append(out, `"ours"`...), nil
			})
		})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var got []map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q became %q:\n%s", text, out, diff)
		}
	})
}

// FuzzRowsEndWhereTheyDo compares a list that is edited after another one with the
// same edited alone.
func FuzzRowsEndWhereTheyDo(f *testing.F) {
	const a, b, c = `{"Id":"a","Status":"Up 5 minutes"}`, `{"Id":"b"}`, `{"Id":"c","Labels":{"k":"}]\"\\"}}`
	for _, seed := range [][2]string{
		{"[" + a + "," + b + "," + c + "]", "[" + a + "," + c + "]"},
		{"[" + b + "," + c + "]", "[" + a + "," + b + "," + c + "]\n"},
		{"[1,2]", "[12,2]"},
		{`["a","b"]`, `["b","ab"]`},
		{"[" + a + "]", "[" + a + b + "]"},
		{"[" + a, "[" + a},
		{"null", "[]"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, now string) {
		keep := func(out, row []byte) ([]byte, error) { return append(out, row...), nil }
		var l listing
		var got []byte
		var err error
		for _, text := range []string{now, before, now, now} {
			l.begin()
			l.theirs.WriteString(text)
			got, err = editElements(nil, l.theirs.Bytes(), l.rowEnd, keep)
		}
		want, alone := editArray(nil, []byte(now), keep)
		if string(got) != string(want) || (err == nil) != (alone == nil) {
			t.Errorf("%q after %q became %q, %v, and alone %q, %v", now, before, got, err, want, alone)
		}
		if l.next != len(l.were) {
			t.Errorf("of %d rows of %q %d were found again", len(l.were), now, l.next)
		}
	})
}

// FuzzAnythingEndsWithoutPanic: an edit ends, with an error or not, whatever
// it is given.
func FuzzAnythingEndsWithoutPanic(f *testing.F) {
	f.Add(`[{"Id":"a","Mounts":[{"Sou`)
	f.Add(`[{"Id":`)
	f.Add(`[{"Id" "a"}}],]`)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = editArray(nil, []byte(text), func(out, row []byte) ([]byte, error) {
			_, _ = member(row, "Id")
			return editObject(out, row, []string{"none"}, func(out []byte, _ string, value []byte) ([]byte, error) { return append(out, value...), nil })
		})
	})
}

func TestElementsThatAnEditLeavesOutLeaveNoCommaBehind(t *testing.T) {
	for _, list := range []string{`["x",1,"x",2,"x"]`, `[1,"x","x",2]`, "[ 1 , 2 ]"} {
		out, err := editArray([]byte("> "), []byte(list), func(out, element []byte) ([]byte, error) {
			if string(element) == `"x"` {
				return out, nil
			}
			return append(out, element...), nil
		})
		if err != nil || string(out) != "> [1,2]" {
			t.Errorf("%s became %s, %v", list, out, err)
		}
	}
}

func TestAListThatIsCutOffIsAnError(t *testing.T) {
	whole := `[{"Id":"a\"","Mounts":[{"Source":"/s"}]}]`
	for n := range len(whole) {
		_, err := editArray(nil, []byte(whole[:n]), func(out, row []byte) ([]byte, error) {
			return editObject(out, row, []string{"none"}, func(out []byte, _ string, value []byte) ([]byte, error) { return append(out, value...), nil })
		})
		if err == nil {
			t.Errorf("%s is edited without an error", whole[:n])
		}
	}
}
