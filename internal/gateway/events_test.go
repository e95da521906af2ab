package gateway_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/volume"
)

// happens is an event as the engine tells of it. attributes are keys and
// values by turns.
func happens(kind, action, id string, attributes ...string) string {
	var pairs []string
	for i := 0; i < len(attributes); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%q:%q", attributes[i], attributes[i+1]))
	}
	return fmt.Sprintf(`{"Type":%q,"Action":%q,"Actor":{"ID":%q,"Attributes":{%s}},"timeNano":1}`, kind, action, id, strings.Join(pairs, ","))
}

func TestEventsOfVolumesAndNetworks(t *testing.T) {
	l := newLab(t)
	hers, his := l.create(t, alice), l.create(t, bob)
	alices, bobs := belongings(t, l)
	byDefault, err := l.registrar.DefaultNetwork(t.Context(), alice, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, his2 := fmt.Sprint("data._.", alice), fmt.Sprint("data._.", bob)
	net, bobnet := fmt.Sprint("net._.", alice), fmt.Sprint("net._.", bob)
	for name, c := range map[string]struct{ said, want string }{
		"her volume is made": {happens("volume", "create", data, "driver", "local"), happens("volume", "create", "data", "driver", "local")},
		"her volume is mounted in her container": {
			happens("volume", "mount", data, "container", hers, "destination", "/d"), happens("volume", "mount", "data", "container", hers, "destination", "/d"),
		},
		"her volume is mounted past ds01":     {happens("volume", "mount", data, "container", stranger), ""},
		"her volume is mounted in his":        {happens("volume", "unmount", data, "container", his), ""},
		"his volume is made":                  {happens("volume", "create", his2, "driver", "local"), ""},
		"his volume is mounted in her":        {happens("volume", "mount", his2, "container", hers), ""},
		"a volume is made past ds01":          {happens("volume", "create", fmt.Sprint("foreign._.", alice)), ""},
		"a volume without a name is nobody's": {happens("volume", "create", stranger), ""},
		"volumes are pruned":                  {happens("volume", "prune", "", "reclaimed", "5"), ""},
		"her network is made":                 {happens("network", "create", alices, "name", net), happens("network", "create", alices, "name", "net")},
		"her default network is made": {
			happens("network", "create", byDefault.ID, "name", byDefault.EngineName), happens("network", "create", byDefault.ID, "name", "bridge"),
		},
		"her container joins her network": {
			happens("network", "connect", alices, "container", hers, "name", net), happens("network", "connect", alices, "container", hers, "name", "net"),
		},
		"his container joins her network":    {happens("network", "connect", alices, "container", his, "name", net), ""},
		"a stranger leaves her network":      {happens("network", "disconnect", alices, "container", stranger, "name", net), ""},
		"his network is made":                {happens("network", "create", bobs, "name", bobnet), ""},
		"her container joins his network":    {happens("network", "connect", bobs, "container", hers, "name", bobnet), ""},
		"his container joins his network":    {happens("network", "connect", bobs, "container", his, "name", bobnet), ""},
		"a network is made past ds01":        {happens("network", "create", stranger, "name", "past"), ""},
		"another network has her own's name": {happens("network", "create", stranger, "name", net), ""},
		"her container has no network": {
			happens("network", "connect", "d0", "container", hers, "name", "none"), happens("network", "connect", "d0", "container", hers, "name", "none"),
		},
		"his container has no network":      {happens("network", "connect", "d0", "container", his, "name", "none"), ""},
		"her container joins the host's":    {happens("network", "connect", "c0", "container", hers, "name", "host"), ""},
		"the engine's own bridge":           {happens("network", "create", "b0", "name", "bridge"), ""},
		"the engine reads its files again":  {happens("daemon", "reload", "T7YS", "name", "host"), ""},
		"an event of a kind that comes yet": {happens("dream", "create", hers, "container", hers), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l.answer("/events", "%s", c.said)
			if got := strings.TrimSpace(l.ask(t, alice, "GET", "/v1.41/events?since=1", "").body); got != c.want {
				t.Errorf("alice hears %s, want %s", got, c.want)
			}
			if got := strings.TrimSpace(l.ask(t, admin, "GET", "/v1.41/events?since=1", "").body); got != c.said {
				t.Errorf("an administrator hears %s, want %s", got, c.said)
			}
		})
	}
}

func TestAdministratorsHearOfTheirOwnInTheirOwnNames(t *testing.T) {
	l := newLab(t)
	hers := l.create(t, admin)
	l.answer("/events", "%s", event(hers, "start", fmt.Sprint("web._.", admin)))
	if got, want := l.ask(t, admin, "GET", "/v1.41/events", "").body, event(hers, "start", "web"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEventsOfWhatIsGone(t *testing.T) {
	l := newLab(t)
	alices, _ := belongings(t, l)
	data, net := fmt.Sprint("data._.", alice), fmt.Sprint("net._.", alice)
	if err := l.registrar.ForgetVolume(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	l.engine.DropNetwork(alices)
	if err := l.registrar.SettleNetwork(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	l.answer("/events", "%s", happens("volume", "destroy", data)+happens("network", "destroy", alices, "name", net))
	want := happens("volume", "destroy", "data") + "\n" + happens("network", "destroy", alices, "name", "net") + "\n"
	if got := l.ask(t, alice, "GET", "/v1.41/events", "").body; got != want {
		t.Errorf("alice hears %s, want %s", got, want)
	}
	if got := l.ask(t, bob, "GET", "/v1.41/events", "").body; got != "" {
		t.Errorf("bob hears %s", got)
	}
}

// The engine makes a volume that has no name with a container, and tells of it
// before it answers whose it is.
func TestAVolumeWithoutANameIsHeardOfOnceItHasAnOwner(t *testing.T) {
	l := newLab(t)
	unnamed := strings.Repeat("ab", 32)
	l.answer("/events", `{"Type":"volume","Action":"create","Actor":{"ID":%q,"Attributes":{}},"timeNano":%d}`, unnamed, time.Now().UnixNano())
	if err := l.engine.CreateVolume(t.Context(), unnamed, nil); err != nil {
		t.Fatal(err)
	}
	found := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		found <- l.registrar.FoundVolumes(t.Context(), alice, []volume.Mounted{{Name: unnamed}})
	}()
	if got := l.ask(t, alice, "GET", "/v1.41/events", "").body; !strings.Contains(got, unnamed) {
		t.Errorf("alice hears %q", got)
	}
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	if got := l.ask(t, bob, "GET", "/v1.41/events", "").body; got != "" {
		t.Errorf("bob hears %q", got)
	}
}

func TestEventsAreAskedForByTheEnginesNames(t *testing.T) {
	l := newLab(t)
	belongings(t, l)
	for filters, want := range map[string]string{
		`{"network":["bridge"]}`:  `"network":{"bridge":true,"` + network.DefaultOf(alice) + `":true}`,
		`{"network":["default"]}`: `"network":{"default":true,"` + network.DefaultOf(alice) + `":true}`,
		`{"network":["net"]}`:     `"network":{"net":true}`, // the engine takes it for the beginning of the name
		`{"volume":["data"]}`:     `"volume":{"data":true}`,
		`{"type":["volume"]}`:     `"type":{"volume":true}`,
	} {
		a := l.ask(t, alice, "GET", "/v1.41/events?filters="+url.QueryEscape(filters), "")
		query, err := url.QueryUnescape(l.engine.last())
		if a.status >= 300 || err != nil || !strings.Contains(query, want) {
			t.Errorf("%s: %d, asked %s, %v", filters, a.status, query, err)
		}
	}
}
