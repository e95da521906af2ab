package api_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/orphan"
	"ds01.dev/ds01/internal/problem"
)

// orphans are what was left over.
type orphans struct {
	there []orphan.Orphan
	gone  []string
}

func (o *orphans) Find(context.Context) ([]orphan.Orphan, error) { return o.there, nil }

func (o *orphans) Remove(_ context.Context, what orphan.Orphan) error {
	if what.Object == "busy" {
		return problem.Because(problem.ErrConflict, "somebody uses it by now")
	}
	o.gone = append(o.gone, what.Object)
	return nil
}

func TestWhatWasLeftOverIsTakenAwayByAdministratorsOnly(t *testing.T) {
	l := newLab(t)
	l.orphans.there = []orphan.Orphan{
		{Kind: orphan.Mount, Object: "c9/0", UID: -1, Why: "w", Fix: "f"},
		{Kind: orphan.Network, Object: "busy", UID: alice, Why: "w", Fix: "f"},
		{Kind: orphan.Volume, Object: "data", UID: alice, Why: "w", Next: "Look."},
	}
	for uid, want := range map[int]int{admin: 3, alice: 2, bob: 0} {
		var d apitype.Doctor
		l.must(t, uid, "GET", "/v1/doctor", "", &d)
		told := slices.ContainsFunc(d.Checks, func(c apitype.Check) bool { return c.Name == "orphans" && c.Result == apitype.CheckWarn })
		if len(d.Orphans) != want || told != (want > 0) {
			t.Errorf("%d is told of %+v", uid, d.Orphans)
		}
	}
	const body = `{"orphans": [{"kind": "mount", "object": "c9/0", "uid": 0, "why": ""}, {"kind": "network", "object": "busy", "uid": 0, "why": ""},
		{"kind": "volume", "object": "data", "uid": 0, "why": ""}, {"kind": "mount", "object": "c1/0", "uid": 0, "why": ""}]}`
	if err := l.ask(t, alice, "POST", "/v1/doctor/fix", body, nil); !errors.Is(err, problem.ErrDenied) || len(l.orphans.gone) > 0 {
		t.Errorf("alice takes away %v: %v", l.orphans.gone, err)
	}
	var done []apitype.Fixed
	l.must(t, admin, "POST", "/v1/doctor/fix", body, &done)
	if !slices.Equal(l.orphans.gone, []string{"c9/0"}) || len(done) != 4 {
		t.Fatalf("taken away %v: %+v", l.orphans.gone, done)
	}
	for i, want := range []string{"", "somebody uses it by now", "it isn't safe. Look.", "it isn't left over any more"} {
		if !strings.Contains(done[i].Error, want) || (want == "") != (done[i].Error == "") {
			t.Errorf("%+v, want %q", done[i], want)
		}
	}
}
