package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

// What a membership gave is gone with it, and what a new one gives is there.
func TestALookIsForWhoAsksNow(t *testing.T) {
	for name, c := range map[string]struct {
		who    int
		group  string // in which they are by now, "" when the account is gone
		status int
		shown  bool // what is bob's
	}{
		"an administrator no longer":    {admin, "docker", 200, false},
		"no container user any more":    {alice, "users", 403, false},
		"an account that is gone":       {alice, "", 403, false},
		"an administrator from now on":  {alice, "admin", 200, true},
		"somebody in just another team": {alice, "docker", 200, false},
	} {
		for _, look := range []string{"containers/json", "images/json", "containers/web._.71002/json"} {
			t.Run(name+" looks at "+look, func(t *testing.T) {
				l, _, his := twoPeople(t)
				l.engine.answers["GET /containers/"+his+"/json"] = fmt.Sprintf(`{"Id":%q,"Name":"/web._.71002","Config":{"Image":"b"}}`, his)
				l.engine.answers["GET /images/json"] = `[{"Id":"2","RepoTags":["ds01-71002/secret:1"],"RepoDigests":null}]`
				before := l.ask(t, c.who, "GET", "/v1.41/"+look, "")
				if got := strings.Contains(before.body, "71002/secret") || strings.Contains(before.body, "/web._.71002"); got != (c.who == admin) {
					t.Fatalf("at first: %s", before.body)
				}
				l.log.take()
				l.moved.Store(c.who, c.group)
				a := l.ask(t, c.who, "GET", "/v1.41/"+look, "")
				if strings.HasPrefix(look, "containers/web") && c.status == 200 && !c.shown {
					c.status = 404
				}
				if shown := strings.Contains(a.body, "71002/secret") || strings.Contains(a.body, `/web._.71002"`); a.status != c.status || shown != c.shown {
					t.Errorf("got %d %s", a.status, a.body)
				}
				if n := len(l.log.take()); n != 0 && c.status == 200 || n > 1 {
					t.Errorf("%d events are written down", n)
				}
			})
		}
	}
}
