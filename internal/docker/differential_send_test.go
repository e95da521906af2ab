package docker_test

import (
	"context"
	"maps"
	"net/netip"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
)

func (w *world) update(data []byte) ([]byte, error) {
	u, err := admission.DecodeUpdate(data)
	if err != nil {
		return nil, err
	}
	u, _, err = admission.ReviewUpdate(u, w.subject)
	if err != nil {
		return nil, err
	}
	return admission.Encode(u)
}

func (w *world) exec(data []byte) ([]byte, error) {
	isolation := w.subject.Isolation
	if w.plain && w.mounted {
		isolation = admission.UID
	}
	return encoded(admission.ReviewExec(data, w.subject.Account, isolation, w.mounted))
}

func (*world) execStart(data []byte) ([]byte, error) {
	return encoded(admission.ReviewExecStart(data))
}

func (*world) commit(data []byte) ([]byte, error) { return encoded(admission.ReviewCommit(data)) }

func (*world) login(data []byte) ([]byte, error) { return encoded(admission.ReviewAuth(data)) }

func encoded[T any](reviewed T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return admission.Encode(reviewed)
}

// connect sends the names of a container of alice's, as the gateway does.
func (*world) connect(data []byte) ([]byte, error) {
	c, err := admission.ReviewConnect(data)
	if err != nil {
		return nil, err
	}
	if c.Container != "mine" {
		return nil, errElsewhere
	}
	endpoint := &admission.Endpoint{Aliases: []string{"mine"}}
	if c.EndpointConfig != nil {
		endpoint.Aliases = append(endpoint.Aliases, c.EndpointConfig.Aliases...)
	}
	links, err := c.Links()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if link.Container != "other" {
			return nil, errElsewhere
		}
		endpoint.Links = append(endpoint.Links, "other:"+link.Alias)
	}
	return admission.Encode(admission.ConnectBody{Container: "0123", EndpointConfig: endpoint})
}

func (*world) disconnect(data []byte) ([]byte, error) {
	d, err := admission.ReadDisconnect(data)
	if err != nil {
		return nil, err
	}
	if d.Container != "mine" {
		return nil, errElsewhere
	}
	d.Container = "0123"
	return admission.Encode(d)
}

// network has the engine make a network, as the registrar does.
func (w *world) network(data []byte) ([]byte, error) {
	n, err := admission.ReviewNetwork(data)
	if err != nil {
		return nil, err
	}
	return w.host.heard(func(ctx context.Context, e *docker.Engine) error {
		_, err := e.CreateNetwork(ctx, network.Spec{
			Name: account.EngineName(n.Name, 1001), Subnet: netip.MustParsePrefix("10.200.0.0/24"),
			Internal: n.Internal, Options: n.Options, Labels: owned(n.Labels),
		})
		return err
	})
}

// volume has the engine make a volume, as the registrar does.
func (w *world) volume(data []byte) ([]byte, error) {
	v, err := admission.ReviewVolume(data)
	if err != nil {
		return nil, err
	}
	if v.Name == "" {
		v.Name = "0123"
	}
	return w.host.heard(func(ctx context.Context, e *docker.Engine) error {
		return e.CreateVolume(ctx, account.EngineName(v.Name, 1001), owned(v.Labels))
	})
}

// owned adds what ds01 writes to the labels of a client's.
func owned(client map[string]string) map[string]string {
	labels := map[string]string{label.Managed: "true", label.UID: "1001"}
	maps.Copy(labels, client)
	return labels
}
