package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/problem"
)

// kinds is the table that people and programs rely on.
func kinds() map[string]struct {
	kind         error
	exit, status int
} {
	type row = struct {
		kind         error
		exit, status int
	}
	return map[string]row{
		"invalid": {problem.ErrInvalid, 2, 400}, "not_found": {problem.ErrNotFound, 3, 404}, "exhausted": {problem.ErrExhausted, 4, 503},
		"denied": {problem.ErrDenied, 5, 403}, "limit": {problem.ErrLimit, 5, 429}, "conflict": {problem.ErrConflict, 6, 409},
		"unavailable": {problem.ErrUnavailable, 7, 503}, "internal": {errors.New("anything else"), 1, 500},
	}
}

func TestEachKindHasItsNumbersHoweverDeepItIs(t *testing.T) {
	for slug, want := range kinds() {
		for name, err := range map[string]error{
			"bare":      want.kind,
			"wrapped":   fmt.Errorf("list: %w", want.kind),
			"a reason":  &problem.Error{What: "x", Why: problem.Because(want.kind, "because")},
			"joined":    errors.Join(errors.New("other"), want.kind),
			"two deep":  fmt.Errorf("a: %w", &problem.Error{What: "x", Why: fmt.Errorf("b: %w", want.kind)}),
			"no reason": &problem.Error{What: "x", Why: want.kind},
		} {
			if got := problem.ExitCode(err); got != want.exit {
				t.Errorf("%s, %s: exit code %d, want %d", slug, name, got, want.exit)
			}
			if got := problem.HTTPStatus(err); got != want.status {
				t.Errorf("%s, %s: status %d, want %d", slug, name, got, want.status)
			}
			if d := problem.Describe(err); d.Type != "urn:ds01:problem:"+slug || d.Status != want.status {
				t.Errorf("%s, %s: described as %+v", slug, name, d)
			}
		}
	}
	if problem.ExitCode(nil) != 0 || problem.HTTPStatus(nil) != 200 {
		t.Error("nothing failed, and yet")
	}
}

func TestAnErrorSurvivesTheWayOverHTTP(t *testing.T) {
	for slug, row := range kinds() {
		sent := &problem.Error{What: "GPU not granted", Why: problem.Because(row.kind, "you hold 2/2"), Next: "Stop one.", Code: "USER_AT_LIMIT"}
		data, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		var d problem.Document
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		got := problem.FromDocument(d)
		if problem.ExitCode(got) != row.exit || problem.HTTPStatus(got) != row.status || got.Error() != sent.Error() ||
			!slices.Equal(problem.Lines(got), problem.Lines(sent)) || problem.Describe(got) != d {
			t.Errorf("%s: %s became %+v", slug, data, got)
		}
	}
}

func TestADocumentOfAKindWeDoNotKnowIsAFailure(t *testing.T) {
	for _, d := range []problem.Document{{Type: "urn:ds01:problem:future", Title: "x", Detail: "y"}, {Title: "x"}, {}} {
		if err := problem.FromDocument(d); problem.ExitCode(err) != 1 {
			t.Errorf("%+v: exit code %d", d, problem.ExitCode(err))
		}
	}
}

func TestWords(t *testing.T) {
	full := &problem.Error{What: "Container not created", Why: problem.Because(problem.ErrDenied, "it is privileged."), Next: "Leave --privileged away."}
	for name, c := range map[string]struct {
		err   error
		lines []string
		one   string
	}{
		"what, why, next": {
			full,
			[]string{"Container not created", "it is privileged.", "Leave --privileged away."},
			"ds01: Container not created: it is privileged. Leave --privileged away.",
		},
		"nothing to do": {&problem.Error{What: "x", Why: problem.ErrConflict}, []string{"x", "conflict"}, "ds01: x: conflict"},
		"no reason":     {&problem.Error{What: "x"}, []string{"x"}, "ds01: x"},
		"any error":     {errors.New("boom"), []string{"boom"}, "ds01: boom"},
		"wrapped":       {fmt.Errorf("outer: %w", full), problem.Lines(full), problem.OneLine(full)},
	} {
		if got := problem.Lines(c.err); !slices.Equal(got, c.lines) {
			t.Errorf("%s: lines %q", name, got)
		}
		if got := problem.OneLine(c.err); got != c.one {
			t.Errorf("%s: one line %q", name, got)
		}
	}
}
