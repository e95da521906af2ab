package admission

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

// PortBinding is where a port of the container is published.
type PortBinding struct {
	HostIP   string `json:"HostIp,omitzero"`
	HostPort string `json:"HostPort,omitzero"`
}

// portAsks reads PortBindings, in the order of the container's ports.
func (c *Create) portAsks() ([]port.Ask, error) {
	var asks []port.Ask
	for _, key := range slices.Sorted(maps.Keys(c.HostConfig.PortBindings)) {
		bindings := c.HostConfig.PortBindings[key]
		if len(bindings) == 0 {
			bindings = []PortBinding{{}} // the engine, too, chooses then
		}
		for _, b := range bindings {
			a, err := readPort(key)
			if err != nil {
				return nil, err
			}
			if err := readBinding(&a, b); err != nil {
				return nil, err
			}
			asks = append(asks, a)
		}
	}
	return asks, nil
}

// readPort reads a port of the container: "80/tcp" or "80".
func readPort(text string) (port.Ask, error) {
	number, protocol, named := strings.Cut(text, "/")
	if !named {
		protocol = port.TCP
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return port.Ask{}, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is no port", text), "Write -p HOST:CONTAINER, two numbers.")
	}
	if protocol != port.TCP && protocol != port.UDP {
		return port.Ask{}, denied(notCreated, fmt.Sprintf("ports of protocol %q are not published", protocol), "tcp and udp are.")
	}
	return port.Ask{Container: int(n), Protocol: protocol}, nil
}

func readBinding(a *port.Ask, b PortBinding) error {
	if b.HostIP != "" {
		address, err := netip.ParseAddr(b.HostIP)
		if err != nil {
			return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is no address", b.HostIP), "Leave it away.")
		}
		a.Address = address.String()
	}
	if b.HostPort == "" || b.HostPort == "0" {
		return nil
	}
	first, last, two := strings.Cut(b.HostPort, "-")
	if !two {
		last = first
	}
	low, err := strconv.ParseUint(first, 10, 16)
	high, herr := strconv.ParseUint(last, 10, 16)
	if err != nil || herr != nil || low == 0 || high < low {
		return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("%q is no port of the host", b.HostPort), "Write -p HOST:CONTAINER, two numbers.")
	}
	a.Host = port.Range{First: int(low), Last: int(high)}
	return nil
}

// PublishAll returns what PublishAllPorts asks for beyond ports: whatever the
// container says it listens on.
func (c *Create) PublishAll(ports []port.Ask, exposed []string) ([]port.Ask, error) {
	if !c.HostConfig.PublishAllPorts {
		return ports, nil
	}
	all := slices.Clone(exposed)
	for key := range c.ExposedPorts {
		all = append(all, key)
	}
	slices.Sort(all)
	for _, key := range slices.Compact(all) {
		a, err := readPort(key)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(ports, func(p port.Ask) bool { return p.Container == a.Container && p.Protocol == a.Protocol }) {
			ports = append(ports, a)
		}
	}
	return ports, nil
}

// grantPorts writes which ports of the host the container gets, each fixed:
// the engine never chooses one when it starts.
func grantPorts(c *Create, _ Subject, g Grant) error {
	h := &c.HostConfig
	h.PublishAllPorts, h.PortBindings = false, nil
	for _, p := range g.Ports {
		if h.PortBindings == nil {
			h.PortBindings = map[string][]PortBinding{}
		}
		key := fmt.Sprintf("%d/%s", p.Container, p.Protocol)
		h.PortBindings[key] = append(h.PortBindings[key], PortBinding{HostIP: p.Address, HostPort: strconv.Itoa(p.Host)})
	}
	return nil
}
