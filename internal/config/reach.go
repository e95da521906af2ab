package config

import (
	"net/netip"

	"ds01.dev/ds01/internal/port"
)

// Networks says which addresses people's networks get.
type Networks struct {
	Pool      string `yaml:"pool"`       // IPv4, "10.192.0.0/12"
	Size      int    `yaml:"size"`       // bits of each network's prefix
	PerPerson int    `yaml:"per_person"` // networks of their own making; their default one isn't counted
}

// Subnets returns the pool. It is valid once Decode or Default made n.
func (n Networks) Subnets() netip.Prefix {
	pool, err := netip.ParsePrefix(n.Pool)
	if err != nil {
		return netip.Prefix{}
	}
	return pool
}

// Ports says which ports of the host people may publish.
type Ports struct {
	Range     string   `yaml:"range"`      // "20000-59999", cut into one range for each person
	PerPerson int      `yaml:"per_person"` // ports in each
	Addresses []string `yaml:"addresses"`  // of the host; the first is used where none is asked for
}

// Whole returns the range that people's ranges are cut from. It is valid once
// Decode or Default made p.
func (p Ports) Whole() port.Range {
	whole, err := port.ParseRange(p.Range)
	if err != nil {
		return port.Range{}
	}
	return whole
}

// Volumes bounds what people keep at the engine.
type Volumes struct {
	PerPerson int `yaml:"per_person"` // volumes, those without a name included
}

// Sizes of a network: smaller ones have no room for containers, larger ones
// soon use the pool up.
const (
	largestNetwork  = 16
	smallestNetwork = 29
)

// validateReach checks how containers may be reached.
func (c Config) validateReach() error {
	pool, err := netip.ParsePrefix(c.Networks.Pool)
	switch {
	case err != nil || !pool.Addr().Is4():
		return fault("networks.pool", "%q is no subnet of version 4, such as 10.192.0.0/12", c.Networks.Pool)
	case c.Networks.Size < largestNetwork || c.Networks.Size > smallestNetwork:
		return fault("networks.size", "%d isn't between %d and %d", c.Networks.Size, largestNetwork, smallestNetwork)
	case c.Networks.Size < pool.Bits():
		return fault("networks.size", "a network of /%d doesn't fit into %s", c.Networks.Size, c.Networks.Pool)
	case c.Networks.PerPerson < 0:
		return fault("networks.per_person", "%d is less than none", c.Networks.PerPerson)
	case c.Volumes.PerPerson < 0:
		return fault("volumes.per_person", "%d is less than none", c.Volumes.PerPerson)
	}
	return c.Ports.validate()
}

func (p Ports) validate() error {
	whole, err := port.ParseRange(p.Range)
	if err != nil {
		return fault("ports.range", "%s", err)
	}
	if p.PerPerson < 1 || whole.Slots(p.PerPerson) == 0 {
		return fault("ports.per_person", "%d ports don't fit into %s", p.PerPerson, p.Range)
	}
	if len(p.Addresses) == 0 {
		return fault("ports.addresses", "name at least one address of the host")
	}
	for _, a := range p.Addresses {
		if _, err := netip.ParseAddr(a); err != nil {
			return fault("ports.addresses", "%q is no address", a)
		}
	}
	return nil
}
