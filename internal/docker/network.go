package docker

import (
	"context"
	"net/netip"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	dnetwork "github.com/docker/docker/api/types/network"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/network"
)

// idLength is how many digits the engine's ids of containers have.
const idLength = 64

// Networks returns all networks.
func (e *Engine) Networks(ctx context.Context) ([]network.Observed, error) {
	list, err := e.api.NetworkList(ctx, dnetwork.ListOptions{})
	if err != nil {
		return nil, explain("list networks", err)
	}
	all := make([]network.Observed, len(list))
	for i, n := range list {
		all[i] = network.Observed{ID: n.ID, Name: n.Name}
		for _, c := range n.IPAM.Config {
			if subnet, err := netip.ParsePrefix(c.Subnet); err == nil { // one that isn't written as a subnet overlaps nothing
				all[i].Subnets = append(all[i].Subnets, subnet)
			}
		}
	}
	return all, nil
}

// CreateNetwork makes a bridge on this host. A name that is taken is of kind
// problem.ErrConflict.
func (e *Engine) CreateNetwork(ctx context.Context, s network.Spec) (id string, err error) {
	made, err := e.api.NetworkCreate(ctx, s.Name, dnetwork.CreateOptions{
		Driver: "bridge", Internal: s.Internal, Options: s.Options, Labels: s.Labels,
		IPAM: &dnetwork.IPAM{Driver: "default", Config: []dnetwork.IPAMConfig{{Subnet: s.Subnet.String()}}},
	})
	if err != nil {
		return "", explain("make network "+s.Name, err)
	}
	return made.ID, nil
}

// RemoveNetwork removes a network that no container is on; one that isn't there is
// of kind problem.ErrNotFound.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	if err := e.api.NetworkRemove(ctx, name); err != nil {
		return explain("remove network "+name, err)
	}
	return nil
}

// Apart reports whether what is on the engine's default bridge can't reach one
// another there, as with "icc": false in the engine's configuration.
func (e *Engine) Apart(ctx context.Context) (bool, error) {
	n, err := e.api.NetworkInspect(ctx, network.Bridge, dnetwork.InspectOptions{})
	if err != nil {
		return false, explain("look at the default bridge", err)
	}
	return apart(n), nil
}

func apart(n dnetwork.Inspect) bool {
	return n.Options["com.docker.network.bridge.enable_icc"] == "false"
}

// Setup looks how the engine is set up.
func (e *Engine) Setup(ctx context.Context) (container.EngineSetup, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return container.EngineSetup{}, explain("ask the engine how it is set up", err)
	}
	s := container.EngineSetup{LiveRestore: info.LiveRestoreEnabled, Swarm: info.Swarm.NodeID != ""}
	n, err := e.api.NetworkInspect(ctx, network.Bridge, dnetwork.InspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return s, nil
	}
	if err != nil {
		return container.EngineSetup{}, explain("look at the default bridge", err)
	}
	s.Bridge, s.Apart = true, apart(n)
	for id, c := range n.Containers {
		if len(id) == idLength { // a step of BuildKit's is no container, and has a shorter one
			s.OnBridge = append(s.OnBridge, c.Name)
		}
	}
	slices.Sort(s.OnBridge)
	return s, nil
}

// Reconnect connects a container that doesn't run with the network that now
// has the name of one it was connected with.
func (e *Engine) Reconnect(ctx context.Context, id, name string, aliases []string) error {
	if err := e.api.NetworkDisconnect(ctx, name, id, true); err != nil {
		return explain("disconnect container "+short(id), err)
	}
	if err := e.api.NetworkConnect(ctx, name, id, &dnetwork.EndpointSettings{Aliases: aliases}); err != nil {
		return explain("connect container "+short(id), err)
	}
	return nil
}

// bridged reports whether the engine makes networks: one that was started
// with --bridge=none is meant to have none.
func (e *Engine) bridged(ctx context.Context) (bool, error) {
	_, err := e.api.NetworkInspect(ctx, network.Bridge, dnetwork.InspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain("look for the engine's bridge", err)
	}
	return true, nil
}
