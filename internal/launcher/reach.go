package launcher

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

// reach finds what a request names beside the container: volumes, networks and
// ports of the person's own. It grants them and makes nothing yet.
func (l *Launcher) reach(ctx context.Context, r Request, ask *admission.Ask, image container.Image, g *admission.Grant) (port.Policy, error) {
	for _, v := range ask.Volumes {
		granted := admission.VolumeGrant{VolumeAsk: v}
		if v.Name != "" {
			granted.EngineName = l.Registrar.VolumeName(r.Account.UID, v.Name)
		}
		g.Volumes = append(g.Volumes, granted)
	}
	g.Subpaths = r.Subpaths
	var err error
	if g.Networks, err = l.networks(r, ask.Network); err != nil {
		return port.Policy{}, err
	}
	if ask.Ports, err = r.Body.PublishAll(ask.Ports, image.Exposed); err != nil || len(ask.Ports) == 0 {
		return port.Policy{}, err
	}
	if len(g.Networks.Endpoints) == 0 {
		return port.Policy{}, l.unpublished(r)
	}
	if r.trial {
		return l.Registrar.NextPortPolicy(r.Account.UID)
	}
	return l.Registrar.PortPolicy(ctx, r.Account.UID)
}

// another returns a container of the person's own that a request names.
func (l *Launcher) another(r Request, reference string) (container.Record, error) {
	other, err := l.Ledger.Find(r.Account.UID, reference)
	if err != nil {
		return other, absent(err)
	}
	if other.ContainerID == "" {
		return other, &problem.Error{
			What: "Container " + r.Name + " not created", Why: problem.Because(problem.ErrConflict, other.Name+" is still being created"),
			Next: "Try again in a moment.",
		}
	}
	return other, nil
}

// absent tells of a missing network or container as of an invalid request:
// clients take "not found" for a missing image, and go to fetch it.
func absent(err error) error {
	if p, ok := errors.AsType[*problem.Error](err); ok && errors.Is(err, problem.ErrNotFound) {
		return &problem.Error{What: p.What, Why: problem.Because(problem.ErrInvalid, p.Why.Error()), Next: p.Next}
	}
	return err
}

func (l *Launcher) unpublished(r Request) error {
	why, next := "a container without a network of its own publishes no ports", "Leave --network or -p away."
	if !l.Registrar.Served() {
		why, next = "this host's engine runs without networks, so that no port can be published", "Leave -p away; ask your administrators to start the engine with a bridge."
	}
	return &problem.Error{What: "Container " + r.Name + " not created", Why: problem.Because(problem.ErrDenied, why), Next: next}
}

// networks returns the engine's names of the networks that are asked for. On a
// host without networks a container that names none has none: the engine's
// default is that there, and starts in half the time of "none".
func (l *Launcher) networks(r Request, ask admission.NetworkAsk) (admission.Networks, error) {
	if ask.Container != "" {
		other, err := l.another(r, ask.Container)
		return admission.Networks{Mode: "container:" + other.ContainerID}, err
	}
	links, err := l.links(r, ask.Links)
	if err != nil {
		return admission.Networks{}, err
	}
	if !l.Registrar.Served() && slices.Equal(ask.Names, []string{network.Bridge}) {
		return admission.Networks{Mode: network.Default}, nil
	}
	granted := admission.Networks{Endpoints: map[string][]string{}, Links: links}
	for i, name := range ask.Names {
		engineName := network.DefaultOf(r.Account.UID) // made where it is missing
		if name != network.Bridge {
			n, err := l.Registrar.Network(r.Account.UID, name)
			if err != nil {
				return granted, absent(err)
			}
			engineName = n.EngineName
		}
		if i == 0 {
			granted.Mode = engineName
		}
		granted.Endpoints[engineName] = WithName(ask.Aliases[name], r.Name)
	}
	return granted, nil
}

// links returns by which other names a container finds others of its owner's:
// their bare names are aliases on their networks.
func (l *Launcher) links(r Request, asked []admission.Link) ([]string, error) {
	var links []string
	for _, link := range asked {
		other, err := l.another(r, link.Container)
		if err != nil {
			return nil, err
		}
		links = append(links, other.Name+":"+link.Alias)
	}
	if len(links) > 0 && !l.Registrar.Served() {
		return nil, &problem.Error{
			What: "Container " + r.Name + " not created",
			Why:  problem.Because(problem.ErrDenied, "this host's engine runs without networks, so that no container finds another"),
			Next: "Leave --link away; ask your administrators to start the engine with a bridge.",
		}
	}
	return links, nil
}

// WithName adds the bare name of a container to its aliases on a network: what
// its owner calls it is what the others there find it by.
func WithName(aliases []string, name string) []string {
	if slices.Contains(aliases, name) {
		return aliases
	}
	return append(slices.Clone(aliases), name)
}

// lockVolumes keeps the volumes of a request from going away until its
// container has them.
func (l *Launcher) lockVolumes(g admission.Grant) (unlock func()) {
	return l.Registrar.LockVolumes(engineNames(g.Volumes)...)
}

// engineNames returns those of the volumes that have a name.
func engineNames(volumes []admission.VolumeGrant) (names []string) {
	for _, v := range volumes {
		if v.EngineName != "" {
			names = append(names, v.EngineName)
		}
	}
	return names
}

// copyNothing keeps the engine from copying what the image has at their places
// into volumes that a container had before. It does that by names, as root of the
// host, and whoever has an open directory of an empty volume could turn those
// into links meanwhile.
func (l *Launcher) copyNothing(volumes []admission.VolumeGrant) []admission.VolumeGrant {
	volumes = slices.Clone(volumes)
	for i := range volumes {
		if v, known := l.Registrar.VolumeAt(volumes[i].EngineName); known && v.Used {
			volumes[i].NoCopy = true
		}
	}
	return volumes
}

// disuse takes back that volumes were used for the first time, where the engine
// has certainly made no container.
func (l *Launcher) disuse(ctx context.Context, fresh []string, why error) {
	if !refused(why) {
		return
	}
	if err := l.Registrar.DisuseVolumes(ctx, fresh); err != nil {
		l.Log.WarnContext(ctx, "volumes count as used that aren't", "volumes", fresh, "error", err)
	}
}

// lay makes what the request needs and isn't there yet: what the engine would
// make by itself would be nobody's.
func (l *Launcher) lay(ctx context.Context, r Request, g admission.Grant) error {
	unnamed := map[string]bool{}
	for _, target := range g.ImageVolumes {
		unnamed[target] = true
	}
	for _, v := range g.Volumes {
		delete(unnamed, v.Target)
		if v.Name == "" {
			unnamed[v.Target] = true
			continue
		}
		labels := OwnLabels(r.Account.UID)
		maps.Copy(labels, v.Labels) // reviewed: none is ours
		if _, err := l.Registrar.EnsureVolume(ctx, r.Account.UID, v.Name, false, labels); err != nil {
			return err
		}
	}
	if err := l.Registrar.RoomForVolumes(r.Account.UID, len(unnamed)); err != nil {
		return err
	}
	if _, wanted := g.Networks.Endpoints[network.DefaultOf(r.Account.UID)]; wanted {
		_, err := l.Registrar.DefaultNetwork(ctx, r.Account.UID, OwnLabels(r.Account.UID))
		return err
	}
	return nil
}

// OwnLabels returns the labels that ds01 writes on volumes and networks.
func OwnLabels(uid int) map[string]string {
	return map[string]string{label.Managed: "true", label.UID: strconv.Itoa(uid)}
}

// registerUnnamed makes the volumes their owner's that the engine has named
// itself.
func (l *Launcher) registerUnnamed(ctx context.Context, record container.Record, g admission.Grant) error {
	if len(g.ImageVolumes) == 0 && !slices.ContainsFunc(g.Volumes, func(v admission.VolumeGrant) bool { return v.Name == "" }) {
		return nil
	}
	o, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil {
		return err
	}
	return l.Registrar.FoundVolumes(ctx, record.UID, o.Volumes)
}
