package gateway_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	audited "ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/peer"
)

// door serves at a container's own socket; the result is what ask calls it.
func (l *lab) door(t *testing.T, uid int, holds bool) (key int) {
	t.Helper()
	c := peer.Container{Owner: uid, ID: "c0ffee", Holds: func(int) bool { return holds }}
	l.serveTo(t, uid, -uid, filepath.Join(t.TempDir(), "s"), c.ConnContext)
	return -uid
}

func TestAContainerSpeaksForItsOwner(t *testing.T) {
	l := newLab(t)
	l.create(t, bob)
	key := l.door(t, alice, true)
	id := l.createAs(t, key, "child")
	if r := l.recordOf(t, id); r.UID != alice {
		t.Errorf("it is %d's", r.UID)
	}
	for _, e := range l.log.take() {
		if through := e.Through == "c0ffee"; through != (e.UID == alice) || through && (e.GID != alice || e.User != "alice" || e.PID == 0) {
			t.Errorf("%+v", e)
		}
	}
}

func TestNoContainerAdministers(t *testing.T) {
	l := newLab(t)
	hers := l.create(t, alice)
	l.engine.answers["GET /containers/json"] = `[{"Id":"` + hers + `","Names":["/web._.1001"],"Image":"x"}]`
	key := l.door(t, admin, true)
	if got := l.ask(t, admin, "GET", "/v1.41/containers/json", ""); !strings.Contains(got.body, hers) {
		t.Fatalf("an administrator doesn't see it: %+v", got)
	}
	if got := l.ask(t, key, "GET", "/v1.41/containers/json", ""); got.status != http.StatusOK || strings.Contains(got.body, hers) {
		t.Errorf("%+v", got)
	}
	if got := l.ask(t, key, "GET", "/v1.41/containers/"+hers+"/json", ""); got.status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
}

func TestADoorIsForItsOwnContainer(t *testing.T) {
	l := newLab(t)
	key := l.door(t, alice, false)
	if got := l.ask(t, key, "GET", "/v1.41/containers/json", ""); got.status != http.StatusForbidden || !strings.Contains(got.body, "another container's") {
		t.Errorf("%+v", got)
	}
	events := l.log.take()
	if !slices.ContainsFunc(events, func(e audited.Event) bool { return e.Decision == audited.Denied && e.Through == "" && e.UID != alice }) {
		text, _ := json.Marshal(events)
		t.Errorf("%s", text)
	}
}

func TestWhoLosesTheGroupIsRefusedAtTheirDoor(t *testing.T) {
	l := newLab(t)
	key := l.door(t, alice, true)
	if got := l.ask(t, key, "GET", "/v1.41/containers/json", ""); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	l.moved.Store(alice, "users")
	if got := l.ask(t, key, "GET", "/v1.41/containers/json", ""); got.status != http.StatusForbidden {
		t.Errorf("%+v", got)
	}
}
