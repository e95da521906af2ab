package admission

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// A NetworkAsk is what a container is to be connected with.
type NetworkAsk struct {
	None      bool
	Container string   // the container whose network it shares, "" for none
	Names     []string // networks as the client writes them, the first is the one it begins with
	Aliases   map[string][]string
	Links     []Link
}

// A Link is one more name by which a container finds another of its owner's, on
// the networks that both are in.
type Link struct {
	Container string // its name or id
	Alias     string
}

// readLinks reads NAME or NAME:ALIAS of each.
func readLinks(what string, links []string) ([]Link, error) {
	var all []Link
	for _, text := range links {
		name, alias, two := strings.Cut(strings.TrimPrefix(text, "/"), ":")
		if !two {
			alias = name
		}
		if !validID.MatchString(name) || !account.ValidContainerName(alias) {
			return nil, refuse(problem.ErrInvalid, what, fmt.Sprintf("%q is no link", text), "Write NAME:ALIAS, a container of yours and one more name for it.")
		}
		all = append(all, Link{name, alias})
	}
	return all, nil
}

// links returns the other containers that an attachment names.
func (e *Endpoint) links(what string) ([]Link, error) {
	if e == nil {
		return nil, nil
	}
	return readLinks(what, e.Links)
}

const containerMode = "container:"

// UnmarshalJSON reads EndpointsConfig as strictly as everything else. Docker's
// SDK for Python writes the network's name beside it, with null, which the
// engine doesn't look at either.
func (n *NetworkingConfig) UnmarshalJSON(value []byte) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(value, &members); err != nil {
		return err
	}
	for key, member := range members {
		switch {
		case key == "EndpointsConfig":
			if err := json.Unmarshal(member, &n.EndpointsConfig, json.RejectUnknownMembers(true)); err != nil {
				return err
			}
		case string(member) != "null":
			return fmt.Errorf("unknown object member name %q", key)
		}
	}
	return nil
}

// networkAsk reads NetworkMode and NetworkingConfig.
func (c *Create) networkAsk() (NetworkAsk, error) {
	mode := networkName(c.HostConfig.NetworkMode)
	a := NetworkAsk{None: c.NetworkDisabled || mode == network.None, Aliases: map[string][]string{}}
	other, shares := strings.CutPrefix(mode, containerMode)
	switch {
	case mode == network.Host:
		return a, denied(notCreated, "the host's network reaches services that trust the host, and other people's", "Publish a port with -p instead.")
	case shares && !validID.MatchString(other):
		return a, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q names no container", mode), "Write --network container:NAME.")
	case shares:
		a.Container = other
	case !a.None && !c.elsewhere():
		a.Names = []string{mode}
	}
	var err error
	if a.Links, err = readLinks(notCreated, c.HostConfig.Links); err != nil {
		return a, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.NetworkingConfig.EndpointsConfig)) {
		e := c.NetworkingConfig.EndpointsConfig[name]
		if err := e.check(notCreated, name); err != nil {
			return a, err
		}
		links, err := e.links(notCreated)
		if err != nil {
			return a, err
		}
		a.Links = append(a.Links, links...)
		name = networkName(name)
		a.Aliases[name] = e.aliases()
		switch {
		case name == mode && !c.elsewhere(), c.NetworkDisabled && name == network.Bridge:
		case name == network.None || len(a.Names) == 0 && !c.elsewhere():
			return a, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("a container of network mode %q has no network %q", mode, name), "Leave one of the two away.")
		default:
			a.Names = append(a.Names, name)
		}
	}
	return a, a.check()
}

// elsewhere reports whether a client says nothing of the network mode, but names
// networks: then it means those only, as the engine takes it.
func (c *Create) elsewhere() bool {
	silent := c.HostConfig.NetworkMode == "" || c.HostConfig.NetworkMode == network.Default
	for name := range c.NetworkingConfig.EndpointsConfig {
		if networkName(name) == network.Bridge {
			return false
		}
	}
	return silent && !c.NetworkDisabled && len(c.NetworkingConfig.EndpointsConfig) > 0
}

func (a NetworkAsk) check() error {
	if len(a.Links) > 0 && len(a.Names) == 0 {
		return refuse(problem.ErrInvalid, notCreated, "a container without a network of its own finds no others by links", "Leave one of the two away.")
	}
	for _, name := range a.Names {
		if !validID.MatchString(name) {
			return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is no name of a network", name), "'docker network ls' shows yours.")
		}
	}
	return nil
}

// networkName returns the one name of the network that has several.
func networkName(name string) string {
	if name == "" || name == network.Default {
		return network.Bridge
	}
	return name
}

func (e *Endpoint) aliases() []string {
	if e == nil {
		return nil
	}
	return e.Aliases
}

// check refuses what nobody may choose of an attachment.
func (e *Endpoint) check(what, name string) error {
	if name == network.Host {
		return denied(what, "the host's network reaches services that trust the host, and other people's", "Publish a port with -p instead.")
	}
	if e.asks() {
		return denied(what, fmt.Sprintf("addresses and driver options on network %q can't be chosen", name), "Leave them away; names are found by --network-alias.")
	}
	for _, alias := range e.aliases() {
		if !account.ValidContainerName(alias) {
			return refuse(problem.ErrInvalid, what, fmt.Sprintf("%q is no alias", alias), "Use letters, digits, '_', '.' and '-'.")
		}
	}
	return nil
}

// Networks is what a container is granted to be connected with.
type Networks struct {
	Mode      string              // at the engine; "" is none
	Endpoints map[string][]string // aliases by the engine's name of each network
	Links     []string            // NAME:ALIAS, on each of them
}

// grantNetworks writes the engine's names in the place of the client's.
func grantNetworks(c *Create, _ Subject, g Grant) error {
	c.HostConfig.NetworkMode, c.NetworkingConfig = g.Networks.Mode, NetworkingConfig{}
	if g.Networks.Mode == "" {
		c.HostConfig.NetworkMode = network.None
	}
	for name, aliases := range g.Networks.Endpoints {
		if c.NetworkingConfig.EndpointsConfig == nil {
			c.NetworkingConfig.EndpointsConfig = map[string]*Endpoint{}
		}
		c.NetworkingConfig.EndpointsConfig[name] = &Endpoint{Aliases: aliases, Links: g.Networks.Links}
	}
	c.HostConfig.Links = nil // only the engine's own bridge knows them, where nobody is
	return nil
}

// NetworkBody is the body of POST /networks/create.
type NetworkBody struct {
	Name           string            `json:"Name,omitzero"`
	CheckDuplicate Ignored           `json:"CheckDuplicate,omitzero"` // always checked
	Driver         string            `json:"Driver,omitzero"`
	Scope          string            `json:"Scope,omitzero"`
	EnableIPv4     *bool             `json:"EnableIPv4,omitzero"`
	EnableIPv6     Unset             `json:"EnableIPv6,omitzero"`
	IPAM           NetworkIPAM       `json:"IPAM,omitzero"`
	Internal       bool              `json:"Internal,omitzero"`
	Attachable     Ignored           `json:"Attachable,omitzero"` // compose says it, and without swarm it means nothing
	Ingress        Unset             `json:"Ingress,omitzero"`
	ConfigOnly     Unset             `json:"ConfigOnly,omitzero"`
	ConfigFrom     ConfigFrom        `json:"ConfigFrom,omitzero"`
	Options        map[string]string `json:"Options,omitzero"`
	Labels         map[string]string `json:"Labels,omitzero"`
}

// NetworkIPAM is how a network would get its addresses.
type NetworkIPAM struct {
	Driver  string `json:"Driver,omitzero"`
	Options Unset  `json:"Options,omitzero"`
	Config  Unset  `json:"Config,omitzero"`
}

// ConfigFrom is the network that one would copy.
type ConfigFrom struct {
	Network Unset `json:"Network,omitzero"`
}

// Options of a network that may be set.
const (
	optionMTU = "com.docker.network.driver.mtu"
	optionICC = "com.docker.network.bridge.enable_icc"
)

var validMTU = regexp.MustCompile(`^[1-9][0-9]{2,4}$`)

// ReviewNetwork reads and reviews the body of a request for a network: a
// bridge on this host, with addresses from ds01's own pool.
func ReviewNetwork(data []byte) (NetworkBody, error) {
	const what = "Network not created"
	var n NetworkBody
	if err := decode(what, data, &n); err != nil {
		return n, err
	}
	for _, r := range []refusal{
		{"EnableIPv6", n.EnableIPv6, "networks are of version 4 here"},
		{"IPAM.Options", n.IPAM.Options, "addresses are given by ds01"},
		{"IPAM.Config", n.IPAM.Config, "addresses are given by ds01, so that they meet nobody else's"},
		{"Ingress", n.Ingress, "there is no swarm here"},
		{"ConfigOnly", n.ConfigOnly, "there is no swarm here"},
		{"ConfigFrom", n.ConfigFrom.Network, "it would copy what is somebody else's"},
	} {
		if r.value.asked != "" {
			return n, denied(what, r.field+" can't be set: "+r.why, "Leave the option away.")
		}
	}
	switch {
	case n.Driver != "" && n.Driver != "bridge":
		return n, denied(what, fmt.Sprintf("network driver %q is not served: it reaches beyond this host's bridges", n.Driver), "Leave --driver away.")
	case n.IPAM.Driver != "" && n.IPAM.Driver != "default":
		return n, denied(what, fmt.Sprintf("address driver %q is not served", n.IPAM.Driver), "Leave --ipam-driver away.")
	case n.Scope != "" && n.Scope != "local":
		return n, denied(what, fmt.Sprintf("scope %q is not served: there is no swarm here", n.Scope), "Leave --scope away.")
	case n.EnableIPv4 != nil && !*n.EnableIPv4:
		return n, denied(what, "networks are of version 4 here", "Leave --ipv4 away.")
	case network.Predefined(n.Name):
		return n, denied(what, fmt.Sprintf("%q is a network that every host has", n.Name), "Choose another name.")
	case !account.ValidContainerName(n.Name):
		return n, refuse(problem.ErrInvalid, what, "a name has letters, digits, '_', '.' and '-', begins with a letter or digit, and doesn't hold '._.'", "Choose another name.")
	}
	for key, value := range n.Options {
		if err := checkOption(what, key, value); err != nil {
			return n, err
		}
	}
	return n, checkLabels(what, n.Labels)
}

func checkOption(what, key, value string) error {
	_, isBool := strconv.ParseBool(value)
	switch {
	case key == optionMTU && validMTU.MatchString(value), key == optionICC && isBool == nil:
		return nil
	case key == optionMTU, key == optionICC:
		return refuse(problem.ErrInvalid, what, fmt.Sprintf("option %s=%s has no such value", key, value), "An MTU is a number of bytes, enable_icc is true or false.")
	}
	return denied(what, fmt.Sprintf("option %q of a network is not served", key), "Only "+optionMTU+" and "+optionICC+" are.")
}

// ConnectBody is the body of POST /networks/{id}/connect.
type ConnectBody struct {
	Container      string    `json:"Container,omitzero"`
	EndpointConfig *Endpoint `json:"EndpointConfig,omitzero"`
}

// ReviewConnect reads and reviews the body of a request to connect a container.
func ReviewConnect(data []byte) (ConnectBody, error) {
	const what = "Container not connected"
	var n ConnectBody
	if err := decode(what, data, &n); err != nil {
		return n, err
	}
	return n, n.EndpointConfig.check(what, "")
}

// Links returns the containers that the one to be connected is to find by other
// names.
func (n ConnectBody) Links() ([]Link, error) {
	return n.EndpointConfig.links("Container not connected")
}

// DisconnectBody is the body of POST /networks/{id}/disconnect.
type DisconnectBody struct {
	Container string `json:"Container,omitzero"`
	Force     bool   `json:"Force,omitzero"`
}

// ReadDisconnect reads the body of a request to disconnect a container.
func ReadDisconnect(data []byte) (DisconnectBody, error) {
	var n DisconnectBody
	err := decode("Container not disconnected", data, &n)
	return n, err
}
