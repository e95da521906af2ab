package gateway_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/registrar"
)

// belongings gives alice and bob a network called net and a volume called data
// each, and returns the networks' ids.
func belongings(t *testing.T, l *lab) (alices, bobs string) {
	t.Helper()
	l.served = true
	own := func(r *registrar.Registrar, uid int) string {
		n, err := r.CreateNetwork(t.Context(), uid, "net", network.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.LockVolumes(r.VolumeName(uid, "data"))()
		if _, err := r.EnsureVolume(t.Context(), uid, "data", false, nil); err != nil {
			t.Fatal(err)
		}
		return n.ID
	}
	return own(l.registrar, alice), own(l.registrar, bob)
}

func (l *lab) answer(path, format string, values ...any) {
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	l.engine.answers["GET "+path] = fmt.Sprintf(format, values...)
}

func (l *lab) listNetworks(alices, bobs string) {
	l.answer("/networks", `[{"Name":"net._.%d","Id":%q,"Containers":{},"Scope":"local"},{"Name":"net._.%d","Id":%q,"Containers":{}},
		{"Name":"bridge","Id":"b0","Containers":{}},{"Name":"host","Id":"c0","Containers":{}},{"Name":"none","Id":"d0","Containers":{}}]`, alice, alices, bob, bobs)
}

func names(t *testing.T, a answer) string {
	t.Helper()
	var all []string
	for _, n := range decode[[]struct{ Name string }](t, a) {
		all = append(all, n.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestNetworksAreListedInOnesOwnNames(t *testing.T) {
	l := newLab(t)
	alices, bobs := belongings(t, l)
	l.listNetworks(alices, bobs)
	for filter, want := range map[string]string{
		``: "bridge net none", `?filters={"name":["^n"]}`: "net none", `?filters={"id":{"` + bobs[:12] + `":true}}`: "", `?filters={"id":["` + alices[:12] + `"]}`: "net",
	} {
		target := "/v1.41/networks" + strings.NewReplacer(`{`, "%7B", `}`, "%7D", `"`, "%22", "^", "%5E").Replace(filter)
		if got := names(t, l.ask(t, alice, "GET", target, "")); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	if got := names(t, l.ask(t, admin, "GET", "/v1.41/networks", "")); got != fmt.Sprint("bridge host net._.", alice, " net._.", bob, " none") {
		t.Errorf("an administrator sees %s", got)
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/networks?filters=%7B%22owner%22:%5B%22x%22%5D%7D", ""), 400, "not served")
	if _, err := l.registrar.DefaultNetwork(t.Context(), alice, nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, l.ask(t, alice, "GET", "/v1.41/networks", "")); got != "net none" {
		t.Errorf("the engine's bridge is shown beside her own: %s", got)
	}
}

func TestANetworkShowsOnesOwnContainersOnly(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	alices, bobs := belongings(t, l)
	l.listNetworks(alices, bobs)
	containers := fmt.Sprintf(`{%q:{"Name":"web._.%d","IPv4Address":"10.192.0.2/26"},%q:{"Name":"web._.%d"},"f00":{"Name":"foreign"}}`, hers, alice, his, bob)
	l.answer("/networks/"+alices, `{"Name":"net._.%d","Id":%q,"Containers":%s,"Driver":"bridge"}`, alice, alices, containers)
	l.answer("/networks/b0", `{"Name":"bridge","Id":"b0","Containers":%s}`, containers)
	for _, reference := range []string{"net", alices, alices[:12], "bridge", "b0"} {
		a := l.ask(t, alice, "GET", "/v1.41/networks/"+reference, "")
		doc := decode[struct {
			Name       string
			Containers map[string]struct{ Name, IPv4Address string }
		}](t, a)
		if doc.Name != "net" && doc.Name != "bridge" || len(doc.Containers) != 1 || doc.Containers[hers].Name != "web" || doc.Containers[hers].IPv4Address == "" {
			t.Errorf("%s: %s", reference, a.body)
		}
	}
	for _, reference := range []string{bobs, bobs[:12], fmt.Sprintf("net._.%d", bob), "host", "c0", "nobodys"} {
		wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/networks/"+reference, ""), 404, "not found")
	}
}

func TestConnectingIsSentInOurWords(t *testing.T) {
	l := newLab(t)
	alices, bobs := belongings(t, l)
	hers, his := l.create(t, alice), l.create(t, bob)
	a := l.ask(t, alice, "POST", "/v1.41/networks/net/connect", `{"Container":"web","EndpointConfig":{"Aliases":["db"],"IPAMConfig":null}}`)
	want := fmt.Sprintf(`{"Container":%q,"EndpointConfig":{"Aliases":["db","web"]}}`, hers)
	if got := l.engine.bodies[len(l.engine.bodies)-1]; a.status != 204 || got != want || l.engine.last() != "POST /v1.41/networks/"+alices+"/connect" {
		t.Errorf("%d: sent %s %s", a.status, l.engine.last(), got)
	}
	a = l.ask(t, alice, "POST", "/v1.41/networks/net/connect", fmt.Sprintf(`{"Container":"web","EndpointConfig":{"Links":["%s:db"]}}`, hers[:12]))
	want = fmt.Sprintf(`{"Container":%q,"EndpointConfig":{"Links":["web:db"],"Aliases":["web"]}}`, hers)
	if got := l.engine.bodies[len(l.engine.bodies)-1]; a.status != 204 || got != want {
		t.Errorf("%d: sent %s", a.status, got)
	}
	before := len(l.engine.requests)
	for _, other := range []string{his, "nobody", fmt.Sprintf("web._.%d", bob)} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/networks/net/connect", fmt.Sprintf(`{"Container":"web","EndpointConfig":{"Links":["%s:db"]}}`, other)), 404, "No such container")
	}
	for _, body := range []string{`{"Container":"nobody"}`, fmt.Sprintf(`{"Container":%q}`, his), fmt.Sprintf(`{"Container":"web._.%d"}`, bob)} {
		for _, verb := range []string{"connect", "disconnect"} {
			wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/networks/net/"+verb, body), 404, "No such container")
		}
	}
	for _, verb := range []string{"connect", "disconnect"} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/networks/"+bobs+"/"+verb, `{"Container":"web"}`), 404, "not found")
	}
	wantRefusal(t, l.ask(t, admin, "POST", "/v1.41/networks/"+alices+"/connect", fmt.Sprintf(`{"Container":%q}`, his)), 403, "two people")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/networks/net/connect", `{"Container":"web","EndpointConfig":{"MacAddress":"02:42:ac:11:00:02"}}`), 403, "can't be chosen")
	if len(l.engine.requests) != before {
		t.Errorf("the engine was asked %v", l.engine.requests[before:])
	}
	a = l.ask(t, alice, "POST", "/v1.41/networks/"+alices+"/disconnect", `{"Container":"web","Force":true}`)
	if got := l.engine.bodies[len(l.engine.bodies)-1]; a.status != 204 || got != fmt.Sprintf(`{"Container":%q,"Force":true}`, hers) {
		t.Errorf("%d: sent %s", a.status, got)
	}
	if a := l.ask(t, alice, "POST", "/v1.41/networks/bridge/connect", `{"Container":"web"}`); a.status != 204 {
		t.Errorf("her default network: %d %s", a.status, a.body)
	}
	if n, err := l.registrar.Network(alice, "bridge"); err != nil || !n.Default || !n.Subnet.Overlaps(netip.MustParsePrefix("10.192.0.0/12")) {
		t.Errorf("got %+v, %v", n, err)
	}
}

func TestOnlyOnesOwnNetworkIsRemoved(t *testing.T) {
	l := newLab(t)
	alices, bobs := belongings(t, l)
	for _, reference := range []string{bobs, fmt.Sprintf("net._.%d", bob), "nobodys"} {
		wantRefusal(t, l.ask(t, alice, "DELETE", "/v1.41/networks/"+reference, ""), 404, "not found")
	}
	for _, reference := range []string{"bridge", "none", "host", "default"} {
		wantRefusal(t, l.ask(t, alice, "DELETE", "/v1.41/networks/"+reference, ""), 403, "not removed")
	}
	l.engine.DropNetwork(alices)
	if a := l.ask(t, alice, "DELETE", "/v1.41/networks/net", ""); a.status != 204 || l.engine.last() != "DELETE /v1.41/networks/"+alices {
		t.Errorf("%d %s", a.status, l.engine.last())
	}
	if _, err := l.registrar.Network(alice, "net"); err == nil {
		t.Error("it is on record")
	}
}

func TestPruningTakesTheNetworksThatPassTheFilters(t *testing.T) {
	all := []string{"net", "old"}
	for filters, want := range map[string][]string{
		``:                         all,
		`{"until":["1h"]}`:         {},
		`{"until":["0s"]}`:         all,
		`{"until":{"0":true}}`:     {}, // that is 1970
		`{"until":["2001-01-01"]}`: {},
		`{"label":["course=ml"]}`:  {"net"},
		`{"label":["course=db"]}`:  {},
		`{"label!":["course"]}`:    {"old"},
		`{"label":["course"],"label!":["keep"],"until":["0s"]}`: {"net"},
	} {
		t.Run(filters, func(t *testing.T) {
			l := newLab(t)
			alices, bobs := belongings(t, l)
			old, err := l.registrar.CreateNetwork(t.Context(), alice, "old", network.Spec{})
			if err != nil {
				t.Fatal(err)
			}
			byDefault, err := l.registrar.DefaultNetwork(t.Context(), alice, nil)
			if err != nil {
				t.Fatal(err)
			}
			const labels = `{"course":"ml"}`
			l.answer("/networks", `[{"Id":%q,"Labels":%s},{"Id":%q,"Labels":{}},{"Id":%q,"Labels":%s},{"Id":%q,"Labels":%[2]s},{"Id":"b0","Labels":%[2]s}]`,
				alices, labels, old.ID, bobs, labels, byDefault.ID)
			a := l.ask(t, alice, "POST", "/v1.41/networks/prune?filters="+url.QueryEscape(filters), "")
			got := decode[struct{ NetworksDeleted []string }](t, a).NetworksDeleted
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("got %s, want %v", a.body, want)
			}
			if query, err := url.QueryUnescape(l.engine.requests[0]); err != nil || !strings.HasSuffix(query, `{"dangling":{"true":true}}`) {
				t.Errorf("asked %s, %v", query, err)
			}
			for _, id := range []string{bobs, byDefault.ID, "b0"} {
				if slices.Contains(l.engine.requests, "DELETE /v1.41/networks/"+id) {
					t.Errorf("%s was removed", id)
				}
			}
		})
	}
	l := newLab(t)
	for filters, says := range map[string]string{`{"until":["soon"]}`: "neither a time nor a duration", `{"dangling":["true"]}`: "not served"} {
		wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/networks/prune?filters="+url.QueryEscape(filters), ""), 400, says)
	}
}

func TestLabelsOfOursOnNetworksAndVolumesAreNotShownToTheirOwners(t *testing.T) {
	l := newLab(t)
	alices, _ := belongings(t, l)
	const labels = `{"a":"b","aime.mlc.DS01_UID":"1","aime.mlc.DS01_MANAGED":"true"}`
	l.answer("/networks/"+alices, `{"Name":"net._.%d","Id":%q,"Labels":%s}`, alice, alices, labels)
	l.answer("/networks", `[{"Name":"net._.%d","Id":%q,"Labels":%s}]`, alice, alices, labels)
	l.answer(fmt.Sprintf("/volumes/data._.%d", alice), `{"Name":"data._.%d","Labels":%s}`, alice, labels)
	l.answer("/volumes", `{"Volumes":[{"Name":"data._.%d","Labels":%s}]}`, alice, labels)
	for _, path := range []string{"/networks", "/networks/net", "/volumes", "/volumes/data"} {
		if a := l.ask(t, alice, "GET", "/v1.41"+path, ""); a.status != 200 || !strings.Contains(a.body, `"Labels":{"a":"b"}`) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := l.ask(t, admin, "GET", "/v1.41/networks/"+alices, ""); !strings.Contains(a.body, "DS01_UID") {
		t.Errorf("an administrator sees %s", a.body)
	}
}
