package api_test

import (
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func TestUpdate(t *testing.T) {
	l := newLab(t)
	var made, got apitype.Container
	l.must(t, alice, "POST", "/v1/containers", `{"name":"web","gpus":0,"restart":"always"}`, &made)
	if made.RestartPolicy != "always" {
		t.Errorf("made with %q", made.RestartPolicy)
	}
	l.must(t, alice, "POST", "/v1/containers/web/update", `{"pids":5,"restart":"on-failure:2"}`, &got)
	if got.RestartPolicy != "on-failure:2" || got.Name != "web" {
		t.Errorf("%+v", got)
	}
	for _, body := range []string{``, `{}`, `{"pids":-1}`, `{"memory_bytes":-1}`, `{"restart":"x"}`, `{"restart":"always:2"}`, `{"Pids":5}`, `{"gpus":2}`} {
		wantKind(t, l.ask(t, alice, "POST", "/v1/containers/web/update", body, nil), problem.ErrInvalid)
	}
	wantKind(t, l.ask(t, alice, "POST", "/v1/containers", `{"name":"x","restart":"sometimes"}`, nil), problem.ErrInvalid)
	wantKind(t, l.ask(t, bob, "POST", "/v1/containers/"+made.ID+"/update", `{"pids":5}`, nil), problem.ErrNotFound)
	l.must(t, admin, "POST", "/v1/containers/web/update?user=alice", `{"pids":6}`, nil)
}
