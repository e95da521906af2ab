package dockertest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/volume"
)

// Volumes returns the names of all volumes.
func (e *Engine) Volumes(context.Context) (names []string, err error) {
	err = e.call("Volumes", "", func() error {
		names = slices.Sorted(maps.Keys(e.volumes))
		return nil
	})
	return names, err
}

// HasVolume reports whether there is a volume of that name.
func (e *Engine) HasVolume(_ context.Context, name string) (ok bool, err error) {
	err = e.call("HasVolume", name, func() error {
		_, ok = e.volumes[name]
		return nil
	})
	return ok, err
}

// CreateVolume makes a volume, unless it is there.
func (e *Engine) CreateVolume(_ context.Context, name string, labels map[string]string) error {
	return e.call("CreateVolume", name, func() error {
		if _, ok := e.volumes[name]; !ok {
			e.volumes[name] = labels
			e.send(container.Event{Kind: container.KindVolume, ID: name, Action: "create"})
		}
		return nil
	})
}

// LabelsOf returns the labels of a volume.
func (e *Engine) LabelsOf(name string) map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.volumes[name]
}

// DropVolume removes a volume, as another client of the engine would.
func (e *Engine) DropVolume(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropVolume(name)
}

func (e *Engine) dropVolume(name string) {
	delete(e.volumes, name)
	e.send(container.Event{Kind: container.KindVolume, ID: name, Action: "destroy"})
}

// mountVolumes gives a new container its volumes, as the engine does: those of
// a name are made where they are missing, those without one get one.
func (e *Engine) mountVolumes(c *state) {
	targets := map[string]bool{}
	mounted := func(name, target string, readOnly bool) {
		targets[target] = true
		if name == "" {
			name = fmt.Sprintf("%x", sha256.Sum256([]byte(c.ID+target)))
		}
		if e.volumes[name] == nil {
			e.volumes[name] = map[string]string{}
		}
		c.Volumes = append(c.Volumes, volume.Mounted{Name: name, Source: "/engine/volumes/" + name + "/_data", Target: target, ReadOnly: readOnly})
	}
	for _, m := range c.body.HostConfig.Mounts {
		if targets[m.Target] = true; m.Type == "volume" {
			mounted(m.Source, m.Target, m.ReadOnly)
		}
	}
	for _, target := range slices.Concat(slices.Sorted(maps.Keys(c.body.Volumes)), e.images[c.body.Image].Volumes) {
		if !targets[target] {
			mounted("", target, false)
		}
	}
}

// destroy removes a container with the volumes that nobody gave a name.
func (e *Engine) destroy(c *state) {
	for _, v := range c.Volumes {
		if !slices.ContainsFunc(c.body.HostConfig.Mounts, func(m BodyMount) bool { return m.Source == v.Name }) {
			e.dropVolume(v.Name)
		}
	}
	event := container.Event{Kind: container.KindContainer, ID: c.ID, Action: "destroy"}
	delete(e.containers, c.ID)
	e.send(event)
}

// Networks returns all networks.
func (e *Engine) Networks(context.Context) (all []network.Observed, err error) {
	err = e.call("Networks", "", func() error {
		for _, id := range slices.Sorted(maps.Keys(e.networks)) {
			all = append(all, e.networks[id])
		}
		return nil
	})
	return all, err
}

// CreateNetwork makes a network.
func (e *Engine) CreateNetwork(_ context.Context, s network.Spec) (id string, err error) {
	err = e.call("CreateNetwork", s.Name, func() error {
		for _, n := range e.networks {
			if n.Name == s.Name {
				return refuse(http.StatusConflict, "network with name "+s.Name+" already exists")
			}
			if slices.ContainsFunc(n.Subnets, s.Subnet.Overlaps) {
				return refuse(http.StatusForbidden, "Pool overlaps with other one on this address space")
			}
		}
		e.made++
		id = fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, "network", e.made)))
		e.networks[id] = network.Observed{ID: id, Name: s.Name, Subnets: append(e.networks[id].Subnets, s.Subnet)}
		e.send(container.Event{Kind: container.KindNetwork, ID: id, Action: "create"})
		return nil
	})
	return id, err
}

// Reconnect connects a container with the network that now has a name.
func (e *Engine) Reconnect(_ context.Context, id, name string, aliases []string) error {
	return e.call("Reconnect", name, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		for id, n := range e.networks {
			if n.Name == name {
				c.Networks[name] = id
				c.body.NetworkingConfig.EndpointsConfig[name] = struct{ Aliases, Links []string }{Aliases: aliases}
				return nil
			}
		}
		return refuse(http.StatusNotFound, "network "+name+" not found")
	})
}

// connect notes which networks a new container is connected with.
func (e *Engine) connect(c *state) {
	c.Networks = map[string]string{}
	for name := range c.body.NetworkingConfig.EndpointsConfig {
		for id, n := range e.networks {
			if n.Name == name {
				c.Networks[name] = id
			}
		}
	}
}

// connected refuses to start a container that has lost a network.
func (e *Engine) connected(c *state) error {
	for _, id := range c.Networks {
		if _, ok := e.networks[id]; !ok {
			return refuse(http.StatusNotFound, "network "+id+" not found")
		}
	}
	return nil
}

// DropNetwork removes a network, as another client of the engine would.
func (e *Engine) DropNetwork(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, id)
	e.send(container.Event{Kind: container.KindNetwork, ID: id, Action: "destroy"})
}
