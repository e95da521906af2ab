package admission

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/network"
)

// Named returns what else than devices and directories a stored configuration
// names: networks, volumes, and the container whose network it shares, ""
// where it has its own. Whoever checks it says in the grant which are its
// owner's.
func (st Stored) Named() (networks, volumes []string, other string) {
	networks = slices.Clone(st.networks)
	if id, shared := strings.CutPrefix(st.host.NetworkMode, "container:"); shared {
		other = id
	} else {
		networks = append(networks, st.host.NetworkMode)
	}
	for _, m := range st.host.Mounts {
		if m.Type == "volume" {
			volumes = append(volumes, m.Source)
		}
	}
	return networks, volumes, other
}

// checkNetworks makes sure that a container is in no network but its owner's.
func checkNetworks(st Stored, _ Subject, g Grant) error {
	networks, _, other := st.Named()
	for _, name := range networks {
		if _, own := g.Networks.Endpoints[name]; !own && name != "" && name != network.None {
			return exceeds("NetworkMode", fmt.Sprintf("%q isn't its owner's network", name))
		}
	}
	if other != "" && g.Networks.Mode != st.host.NetworkMode {
		return exceeds("NetworkMode", "it shares the network of a container that isn't its owner's")
	}
	return nil
}

// checkSharedNetworks is checkNetworks for a container that was made past ds01,
// which may be in the engine's own network.
func checkSharedNetworks(st Stored, s Subject, g Grant) error {
	shared := func(name string) bool { return name == "default" || name == network.Bridge }
	if shared(st.host.NetworkMode) {
		st.host.NetworkMode = ""
	}
	st.networks = slices.DeleteFunc(slices.Clone(st.networks), shared)
	return checkNetworks(st, s, g)
}

// checkPorts makes sure that nothing is published but the record's ports.
func checkPorts(st Stored, s Subject, g Grant) error {
	var allowed Create
	if err := grantPorts(&allowed, s, g); err != nil {
		return err
	}
	for key, bindings := range st.host.PortBindings {
		if len(bindings) > 0 && !reflect.DeepEqual(bindings, allowed.HostConfig.PortBindings[key]) {
			return exceeds("PortBindings", key+" isn't published as ds01 has noted it")
		}
	}
	if st.host.PublishAllPorts {
		return exceeds("PublishAllPorts", "the engine would choose ports of the host")
	}
	if len(st.host.VolumesFrom) > 0 {
		return exceeds("VolumesFrom", "it mounts what another container has")
	}
	return nil
}
