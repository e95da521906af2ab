package gateway_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

func TestRenameAndPause(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	for _, path := range []string{"/rename?name=new", "/pause", "/unpause"} {
		wantRefusal(t, l.ask(t, bob, "POST", "/v1.41/containers/"+hers+path, ""), 404, "No such container")
	}
	if a := l.ask(t, alice, "POST", "/v1.41/containers/web/rename?name=new", ""); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if l.recordOf(t, hers).Name != "new" || l.recordOf(t, his).Name != "web" || !slices.Contains(l.engine.Calls(), "Rename "+hers) {
		t.Errorf("hers is %s, his %s", l.recordOf(t, hers).Name, l.recordOf(t, his).Name)
	}
	l.create(t, alice)
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/new/rename?name=web", ""), 409, "called web already")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/new/rename?name=x._.71002", ""), 400, "doesn't hold '._.'")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/new/rename", ""), 400, "a name has letters")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/new/pause", ""), 409, "new is created")
	if err := l.engine.Start(t.Context(), hers); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"pause", "unpause"} {
		if a := l.ask(t, alice, "POST", "/v1.41/containers/new/"+verb, ""); a.status != 204 {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
	if !slices.Equal(l.observe, []string{hers, hers, hers}) {
		t.Errorf("looked at %v", l.observe)
	}
}

func TestPruneRemovesOnesOwnThatPassTheFilters(t *testing.T) {
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		filters string
		removed bool
	}{
		"no filter":                     {``, true},
		"an older one":                  {`{"until":["1h"]}`, true},
		"none so old":                   {`{"until":["48h"]}`, false},
		"before a time":                 {fmt.Sprintf(`{"until":["%d"]}`, now), true},
		"before an early time":          {`{"until":["2001-01-01T00:00:00Z"]}`, false},
		"before an early day":           {`{"until":["2001-01-01"]}`, false},
		"before a time with a fraction": {fmt.Sprintf(`{"until":["%d.123456789"]}`, now-24*3600), true},
		"before the fraction of it":     {fmt.Sprintf(`{"until":["%d.0"]}`, now-24*3600), false},
		"before time began":             {`{"until":["0"]}`, false},
		"an hour without minutes":       {`{"until":["2001-01-01T10"]}`, false},
		"an hour of another zone":       {`{"until":["2001-01-01T10:00+02:00"]}`, false},
		"a day to come":                 {`{"until":["2199-01-01Z"]}`, true},
		"a minute to come":              {`{"until":["2199-01-01T10:00"]}`, true},
		"a moment to come":              {`{"until":["2199-01-01T10:00:00.5"]}`, true},
		"an hour to come, in Greenwich": {`{"until":["2199-01-01T10Z"]}`, true},
		"a label":                       {`{"label":{"x":true}}`, true},
		"a label with its value":        {`{"label":["x=y"]}`, true},
		"a label with another value":    {`{"label":["x=z"]}`, false},
		"a label that it lacks":         {`{"label":["x","keep"]}`, false},
		"not with a label":              {`{"label!":["x"]}`, false},
		"not with a label it lacks":     {`{"label!":["keep=1"]}`, true},
		"not with another label value":  {`{"label!":["x=z"]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			hers, his := l.create(t, alice), l.create(t, bob)
			row := `{"Id":%q,"Created":%d,"Labels":{"x":"y"}}`
			l.engine.answers["GET /containers/json"] = fmt.Sprintf("["+row+","+row+"]", hers, now-24*3600, his, now-24*3600)
			l.engine.answers["GET /containers/"+hers+"/json"] = `{"SizeRw":42}`
			a := l.ask(t, alice, "POST", "/v1.41/containers/prune?filters="+url.QueryEscape(c.filters), "")
			got := decode[struct {
				ContainersDeleted []string
				SpaceReclaimed    int64
			}](t, a)
			want := []string{}
			if c.removed {
				want = []string{hers}
			}
			if !slices.Equal(got.ContainersDeleted, want) || got.SpaceReclaimed != int64(42*len(want)) || !strings.Contains(a.body, `"ContainersDeleted":[`) {
				t.Errorf("%s", a.body)
			}
			if asked := slices.Contains(l.engine.requests, "DELETE /v1.41/containers/"+hers); asked != c.removed || slices.Contains(l.engine.requests, "DELETE /v1.41/containers/"+his) {
				t.Errorf("asked %v", l.engine.requests)
			}
		})
	}
}

// A container between two runs is stopped for the engine only.
func TestAPruneLeavesWhatIsStartedAgain(t *testing.T) {
	always := container.RestartPolicy{Name: container.RestartAlways}
	for name, c := range map[string]struct {
		state   gpu.State
		restart container.Restart
		removed bool
	}{
		"it waits to be started":     {gpu.Held, container.Restart{Policy: always, Due: time.Now()}, false},
		"it waits, its GPU released": {gpu.Released, container.Restart{Policy: always, Due: time.Now()}, false},
		"its end isn't known yet":    {gpu.Running, container.Restart{Policy: always}, false},
		"it is stopped":              {gpu.Held, container.Restart{Policy: always, Stopped: true}, true},
		"it is being stopped":        {gpu.Running, container.Restart{Policy: always, Stopped: true}, true},
		"nobody wants it again":      {gpu.Running, container.Restart{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			id := l.create(t, alice)
			err := l.ledger.Update(t.Context(), l.recordOf(t, id).ID, func(r *container.Record) { r.State, r.Restart = c.state, c.restart })
			if err != nil {
				t.Fatal(err)
			}
			l.engine.answers["GET /containers/json"] = fmt.Sprintf(`[{"Id":%q}]`, id)
			l.ask(t, alice, "POST", "/v1.41/containers/prune", "")
			if asked := slices.Contains(l.engine.requests, "DELETE /v1.41/containers/"+id); asked != c.removed {
				t.Errorf("asked %v", l.engine.requests)
			}
		})
	}
}

func TestAPruneThatIsNotUnderstoodRemovesNothing(t *testing.T) {
	l := newLab(t)
	hers := l.create(t, alice)
	l.engine.answers["GET /containers/json"] = fmt.Sprintf(`[{"Id":%q}]`, hers)
	for filters, says := range map[string]string{
		`{"name":["web"]}`: "not served", `{"until":["soon"]}`: "neither a time nor a duration", `{"until":["inf"]}`: "neither a time", `{"until":["1.-5"]}`: "neither a time", `{"until":["1h","2h"]}`: "more than one", `[`: "Filter not understood",
	} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/containers/prune?filters="+url.QueryEscape(filters), ""), 400, says)
	}
	if len(l.engine.requests) > 0 {
		t.Errorf("asked %v", l.engine.requests)
	}
	// What was started meanwhile stays, and what nobody has isn't asked for.
	l.engine.answers["DELETE /containers/"+hers] = `409!{"message":"it runs"}`
	l.engine.answers["GET /containers/"+hers+"/json"] = "{}"
	if a := l.ask(t, alice, "POST", "/v1.41/containers/prune", ""); !strings.Contains(a.body, `"ContainersDeleted":[]`) || a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	before := len(l.engine.requests)
	if a := l.ask(t, admin, "POST", "/v1.41/containers/prune", ""); a.status != 200 || len(l.engine.requests) > before {
		t.Errorf("%d %s, asked %v", a.status, a.body, l.engine.requests[before:])
	}
}
