package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// findNetwork returns the record that a reference means to the caller.
func (c *call) findNetwork(reference string) (network.Record, error) {
	if c.roles.Admin {
		return c.Registrar.AnyNetwork(c.who.UID, reference)
	}
	return c.Registrar.Network(c.who.UID, reference)
}

// networkCreate makes a network of the caller's.
func (c *call) networkCreate() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReviewNetwork(data)
	if err != nil {
		return err
	}
	labels := launcher.OwnLabels(c.who.UID)
	maps.Copy(labels, body.Labels) // reviewed: none is ours
	n, err := c.Registrar.CreateNetwork(context.WithoutCancel(c.r.Context()), c.who.UID, body.Name, network.Spec{
		Internal: body.Internal, Options: body.Options, Labels: labels,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, map[string]any{"Id": n.ID, "Warning": ""})
}

// networkConnect connects a container with a network of the same person.
func (c *call) networkConnect() error {
	const what = "Container not connected"
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReviewConnect(data)
	if err != nil {
		return err
	}
	record, err := c.find(body.Container)
	if err != nil {
		return err
	}
	if record.ContainerID == "" {
		return &problem.Error{What: what, Why: problem.Because(problem.ErrConflict, record.Name+" is still being created"), Next: "Try again in a moment."}
	}
	n, err := c.networkToJoin(record.UID)
	if err != nil {
		return err
	}
	if n.UID != record.UID {
		return &problem.Error{
			What: what, Why: problem.Because(problem.ErrDenied, "the container and the network belong to two people, who would reach each other's ports"),
			Next: "Connect containers with networks of their owner.",
		}
	}
	endpoint := &admission.Endpoint{}
	if body.EndpointConfig != nil {
		endpoint.Aliases = body.EndpointConfig.Aliases
	}
	if endpoint.Links, err = c.ownLinks(record, body); err != nil {
		return err
	}
	endpoint.Aliases = launcher.WithName(endpoint.Aliases, record.Name)
	return c.join(n, admission.ConnectBody{Container: record.ContainerID, EndpointConfig: endpoint})
}

// ownLinks returns the links of a connection, each to a container of the same
// person.
func (c *call) ownLinks(record container.Record, body admission.ConnectBody) ([]string, error) {
	links, err := body.Links()
	if err != nil {
		return nil, err
	}
	var own []string
	for _, link := range links {
		other, err := c.Ledger.Find(record.UID, link.Container)
		if err != nil {
			return nil, err
		}
		own = append(own, other.Name+":"+link.Alias)
	}
	return own, nil
}

// networkToJoin returns the route's network for a container of uid's; their
// default one is made where it is missing.
func (c *call) networkToJoin(uid int) (network.Record, error) {
	if ref := c.match.Param; ref == network.Bridge || ref == network.Default {
		return c.Registrar.DefaultNetwork(context.WithoutCancel(c.r.Context()), uid, launcher.OwnLabels(uid))
	}
	return c.findNetwork(c.match.Param)
}

// join sends a body of ours about a network.
func (c *call) join(n network.Record, body any) error {
	encoded, err := admission.Encode(body)
	if err != nil {
		return err
	}
	resp, err := c.ask(context.WithoutCancel(c.r.Context()), http.MethodPost, c.path(n.ID), nil, encoded)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

func (c *call) networkDisconnect() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReadDisconnect(data)
	if err != nil {
		return err
	}
	record, err := c.find(body.Container)
	if err != nil {
		return err
	}
	n, err := c.Registrar.Network(record.UID, c.match.Param)
	if err != nil {
		n, err = c.findNetwork(c.match.Param)
	}
	if err != nil {
		return err
	}
	body.Container = record.ContainerID
	return c.join(n, body)
}

func (c *call) networkRemove() error {
	n, err := c.findNetwork(c.match.Param)
	if predefined := network.Predefined(c.match.Param); predefined || err == nil && n.Default && !c.roles.Admin {
		return &problem.Error{
			What: "Network " + c.match.Param + " not removed", Why: problem.Because(problem.ErrDenied, "it is the one that your containers are in when they name none"),
			Next: "Let it be; it takes no room.",
		}
	}
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	resp, err := c.ask(ctx, http.MethodDelete, c.path(n.ID), nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	if resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode == http.StatusNotFound {
		if err := c.Registrar.SettleNetwork(ctx, n.EngineName); err != nil {
			return err
		}
	}
	return c.relay(resp)
}

// networkPrune removes those of the caller's networks that nothing runs in and
// that pass the filters.
func (c *call) networkPrune() error {
	want, _, err := c.pruneFilters("until")
	if err != nil {
		return err
	}
	idle, err := c.idleNetworks()
	if err != nil {
		return err
	}
	deleted := []string{}
	for _, row := range idle {
		n, known := c.Registrar.NetworkAt(row.ID)
		if !known || n.Default || n.UID != c.who.UID || !want.takes(n.CreatedAt, row.Labels) {
			continue
		}
		if gone, err := c.dropNetwork(n); err != nil {
			return err
		} else if gone {
			deleted = append(deleted, n.Name)
		}
	}
	return c.json(http.StatusOK, map[string]any{"NetworksDeleted": deleted})
}

// idleNetworks returns everybody's networks that nothing runs in.
func (c *call) idleNetworks() ([]labelled, error) {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/networks", url.Values{"filters": {filterSet{"dangling": {"true"}}.encode()}}, nil)
	if err != nil {
		return nil, err
	}
	var idle []labelled
	if err := json.Unmarshal(data, &idle); err != nil {
		return nil, fmt.Errorf("read the engine's list: %w", err)
	}
	return idle, nil
}

// dropNetwork removes a network, unless something runs in it by now.
func (c *call) dropNetwork(n network.Record) (gone bool, err error) {
	ctx := context.WithoutCancel(c.r.Context())
	resp, err := c.ask(ctx, http.MethodDelete, "/networks/"+n.ID, nil, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // only its status is read
	if resp.StatusCode >= http.StatusMultipleChoices {
		return false, nil
	}
	return true, c.Registrar.SettleNetwork(ctx, n.EngineName)
}

// networkInspect answers about a network of the caller's, or one that every
// host has.
func (c *call) networkInspect() error {
	id, err := c.visibleNetwork(c.match.Param)
	if err != nil {
		return err
	}
	view, shown, err := c.fetchNetwork(id)
	if err == nil && !shown {
		_, err = c.findNetwork(c.match.Param) // it says that there is none
	}
	if err != nil {
		return err
	}
	return c.views(view)
}

// visibleNetwork returns the id of a network that the caller may see. Those
// that every host has are looked for in the list: asking for one tells what
// the engine has of others'.
func (c *call) visibleNetwork(reference string) (string, error) {
	n, err := c.findNetwork(reference)
	if err == nil {
		return n.ID, nil
	}
	if !errors.Is(err, problem.ErrNotFound) {
		return "", err
	}
	if reference == network.Default {
		reference = network.Bridge
	}
	all, lerr := c.networks(filterSet{})
	if lerr != nil {
		return "", lerr
	}
	for _, v := range all {
		if v.Name == reference || strings.HasPrefix(v.ID, reference) {
			return v.ID, nil
		}
	}
	return "", err
}

func (c *call) fetchNetwork(id string) (networkView, bool, error) {
	query := url.Values{}
	if v := c.match.Query.Get("verbose"); v != "" {
		query.Set("verbose", v)
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/networks/"+id, query, nil)
	if err != nil {
		return networkView{}, false, err
	}
	var view networkView
	if err := jsonv2.Unmarshal(data, &view); err != nil {
		return networkView{}, false, fmt.Errorf("read the engine's answer: %w", err)
	}
	view, shown := c.showNetwork(view)
	return view, shown, nil
}
