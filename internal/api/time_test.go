package api_test

import (
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func TestContainersTimesAreTheirOwnersToChange(t *testing.T) {
	l := newLab(t)
	var made, got apitype.Container
	l.must(t, alice, "POST", "/v1/containers", `{"name":"web","keep":true}`, &made)
	if made.Time == nil || !made.Time.Kept {
		t.Errorf("made to be kept: %+v", made.Time)
	}
	l.must(t, alice, "DELETE", "/v1/containers/web/keep", "", &got)
	if got.Time.Kept {
		t.Error("it is still kept")
	}
	l.must(t, alice, "POST", "/v1/containers/web/stop", `{"keep":true,"give_back":true}`, &got)
	if !got.Time.Kept {
		t.Error("stopped to be kept, and isn't")
	}
	wantKind(t, l.ask(t, alice, "POST", "/v1/containers/web/extend", `{"seconds":60}`, nil), problem.ErrConflict) // without a GPU it has no end
	for _, body := range []string{``, `{"seconds":0}`, `{"seconds":-5}`, `{"seconds":99999999999}`, `{"hours":1}`} {
		wantKind(t, l.ask(t, alice, "POST", "/v1/containers/web/extend", body, nil), problem.ErrInvalid)
	}
	for path, method := range map[string]string{"extend": "POST", "keep": "DELETE"} {
		wantKind(t, l.ask(t, bob, method, "/v1/containers/"+made.ID+"/"+path, `{"seconds":60}`, nil), problem.ErrNotFound)
	}
	l.must(t, admin, "POST", "/v1/containers/web/protect?user=alice", "", &got)
	if !got.Time.Protected {
		t.Error("it isn't protected")
	}
	l.must(t, admin, "DELETE", "/v1/containers/web/protect?user=alice", "", nil)
}

func TestExemptions(t *testing.T) {
	l := newLab(t)
	var all []apitype.Exemption
	var made apitype.Exemption
	l.must(t, admin, "POST", "/v1/exemptions", `{"user":"alice","from":["idle","hold"],"reason":" thesis "}`, &made)
	if made.User != "alice" || made.Reason != "thesis" || made.By == "" || made.Made == nil || made.Until != nil {
		t.Errorf("got %+v", made)
	}
	for _, body := range []string{
		`{}`, `{"user":"nobody-here","from":["idle"],"reason":"x"}`, `{"user":"alice","from":["idle"]}`, `{"user":"alice","reason":"x"}`,
		`{"user":"alice","from":["limits"],"reason":"x"}`, `{"user":"alice","from":["idle"],"reason":"x","until":"2001-01-01T00:00:00Z"}`,
	} {
		wantKind(t, l.ask(t, admin, "POST", "/v1/exemptions", body, nil), problem.ErrInvalid)
	}
	l.must(t, admin, "GET", "/v1/exemptions", "", &all)
	if len(all) != 1 || all[0].User != "alice" {
		t.Errorf("there are %+v", all)
	}
	l.must(t, admin, "DELETE", "/v1/exemptions/alice", "", nil)
	wantKind(t, l.ask(t, admin, "DELETE", "/v1/exemptions/alice", "", nil), problem.ErrNotFound)
}
