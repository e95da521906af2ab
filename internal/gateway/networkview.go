package gateway

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
)

// A networkView is the engine's answer; what isn't named passes as it is.
type networkView struct {
	Name       string                  `json:"Name"`
	ID         string                  `json:"Id"`
	Labels     map[string]string       `json:"Labels"`
	Containers map[string]endpointView `json:"Containers"`
	Rest       jsontext.Value          `json:",embed"`
}

type endpointView struct {
	Name string         `json:"Name"`
	Rest jsontext.Value `json:",embed"`
}

// ownNetworkNames puts the caller's names of networks and containers in the
// place of the engine's.
func (c *call) ownNetworkNames(value []byte) []byte {
	engine := []byte(`"` + network.DefaultOf(c.who.UID) + `"`)
	return c.ownNames(bytes.ReplaceAll(value, engine, []byte(`"`+network.Bridge+`"`)))
}

// showNetwork returns a network as the caller may see it: their own, and what
// every host has, without others' containers.
func (c *call) showNetwork(v networkView) (networkView, bool) {
	n, known := c.Registrar.NetworkAt(v.ID)
	own := known && n.UID == c.who.UID
	if c.roles.Admin && !own {
		return v, true
	}
	if !own && v.Name != network.None && v.Name != network.Bridge {
		return v, false
	}
	if _, err := c.Registrar.Network(c.who.UID, network.Bridge); err == nil && !own && v.Name == network.Bridge {
		return v, false // their own is what they call bridge
	}
	if own {
		v.Name = n.Name
		hideLabels(v.Labels)
	}
	mine := map[string]endpointView{}
	for id, endpoint := range v.Containers {
		if record, ok := c.Ledger.ByContainer(id); ok && record.UID == c.who.UID {
			endpoint.Name = record.Name
			mine[id] = endpoint
		}
	}
	v.Containers = mine
	return v, true
}

// hideLabels takes away what ds01 has written on a network or volume: compose
// compares labels with those it has set, and warns of any other.
func hideLabels(labels map[string]string) {
	maps.DeleteFunc(labels, func(key, _ string) bool { return label.Reserved(key) })
}

// networks returns the networks the caller may see.
func (c *call) networks(filters filterSet) ([]networkView, error) {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/networks", url.Values{"filters": {filters.encode()}}, nil)
	if err != nil {
		return nil, err
	}
	var all []networkView
	if err := jsonv2.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the engine's list: %w", err)
	}
	shown := []networkView{}
	for _, v := range all {
		if v, ok := c.showNetwork(v); ok {
			shown = append(shown, v)
		}
	}
	return shown, nil
}

// networkList answers with the caller's networks and those that every host
// has; administrators see all.
func (c *call) networkList() error {
	filters, names, err := c.nameFilters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return err
	}
	ids := filters["id"]
	delete(filters, "id")
	all, err := c.networks(filters)
	if err != nil {
		return err
	}
	shown := []networkView{}
	for _, v := range all {
		if fits(names, v.Name) && begins(v.ID, ids) {
			shown = append(shown, v)
		}
	}
	return c.views(shown)
}

// begins reports whether the id begins with one of these, or there are none.
func begins(id string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(id, p) {
			return true
		}
	}
	return len(prefixes) == 0
}
