package allocator

import "ds01.dev/ds01/internal/port"

// assignPorts chooses the ports of an order among those that no container of
// anybody's publishes. The caller holds mu.
func (a *Allocator) assignPorts(o Order) ([]port.Port, error) {
	if len(o.Ports) == 0 {
		return nil, nil
	}
	type key struct {
		protocol string
		host     int
	}
	taken := map[key]bool{}
	for _, r := range a.records {
		for _, p := range r.Ports {
			taken[key{p.Protocol, p.Host}] = true
		}
	}
	return port.Assign("Container "+o.Name+" not created", o.Ports, o.Policy, func(protocol string, host int) bool {
		return taken[key{protocol, host}]
	})
}
