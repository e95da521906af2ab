package launcher

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// A footing is what a start stands on: the owner with today's limits, and what
// of the stored configuration differs from them.
type footing struct {
	subject admission.Subject
	excess  admission.Update // what fits it to them
	volumes []string         // the engine's names of those in it
	made    made
}

// footing looks the owner up as they are now and renews their group, and beside
// that asks the engine what it has stored. A configuration that nobody may have
// now is an error.
func (l *Launcher) footing(ctx context.Context, record container.Record, why cause) (footing, error) {
	var look errgroup.Group
	var seen container.Observed
	var stored []byte
	look.Go(func() (err error) {
		seen, stored, err = l.Engine.Stored(ctx, record.ContainerID)
		return err
	})
	subject, parent, err := l.owner(ctx, record)
	if lost := look.Wait(); err == nil {
		err = lost
	}
	if err != nil {
		return footing{}, err
	}
	config, err := admission.DecodeStored(stored)
	if err != nil {
		return footing{}, err
	}
	excess, err := l.check(ctx, record, seen, config, subject, parent, why)
	e := made{record, seen, config, subject}
	if err == nil {
		excess, _, err = l.reviewExisting(ctx, "Container "+record.Name+" not started", policy.ContainerStart, e, excess)
	}
	return footing{subject, excess, volumeNames(seen.Volumes), e}, err
}

// withDevices has the site's policy judge a container again that was granted
// other devices than it had.
func (l *Launcher) withDevices(ctx context.Context, f footing) (footing, error) {
	now, ok := l.Ledger.Record(f.made.record.ID)
	if !ok || slices.Equal(now.Devices, f.made.record.Devices) {
		return f, nil
	}
	f.made.record = now
	var err error
	f.excess, _, err = l.reviewExisting(ctx, "Container "+now.Name+" not started", policy.ContainerStart, f.made, f.excess)
	return f, err
}

func (l *Launcher) owner(ctx context.Context, record container.Record) (s admission.Subject, parent string, err error) {
	who, err := l.Accounts.Lookup(record.UID)
	if err != nil {
		return s, "", err
	}
	if s, err = l.subject("Container "+record.Name+" not started", who); err != nil {
		return s, "", err
	}
	parent, err = l.Cgroups.Ensure(ctx, record.UID, s.Limits)
	return s, parent, err
}

// check reviews what the engine has stored. Every container that ds01 made
// names its claim in a label that nobody can change; one that doesn't was made
// past ds01 and adopted.
func (l *Launcher) check(ctx context.Context, record container.Record, seen container.Observed, config admission.Stored, s admission.Subject, parent string, why cause) (admission.Update, error) {
	g := admission.Grant{
		CgroupParent: parent, NodeFolder: l.NodeFolder, Mounts: record.Mounts, Devices: l.devicesOf(record), Runtime: l.runtime(),
		AtStart: record.AtStart, Wishes: record.Wishes,
	}
	l.attached(record, config, &g)
	if seen.ClaimID() == record.ID {
		return config.Check(s, g)
	}
	if err := l.checkReach(record, seen); err != nil {
		return admission.Update{}, err
	}
	excess, err := config.CheckAdopted(s, g)
	if err != nil && why == byAdmin {
		l.Log.WarnContext(ctx, "administrator starts an adopted container as it is", "container", record.ContainerID, "beyond", err)
		return admission.Update{}, nil
	}
	return excess, adopted(err)
}

// checkReach makes sure that an adopted container opens no device but those
// that it holds: its rules may reach one that has come since, whoever starts it.
func (l *Launcher) checkReach(record container.Record, seen container.Observed) error {
	for _, uuid := range seen.Hints.Reaches(l.Devices()) {
		if !slices.ContainsFunc(record.Devices, func(g gpu.Grant) bool { return g.UUID == uuid }) {
			return &problem.Error{
				What: "Container " + record.Name + " not started",
				Why:  problem.Because(problem.ErrDenied, "it was made past ds01, and reaches device "+uuid+", which it doesn't hold"),
				Next: "Make it anew with --gpus N.",
			}
		}
	}
	return nil
}

// adopted says of a refusal what can be done about it.
func adopted(err error) error {
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return &problem.Error{What: p.What, Why: p.Why, Next: "It was made past ds01 and adopted: make it anew, or ask an administrator to start it as it is.", Code: p.Code}
	}
	return err
}

// attached grants what of a stored configuration's networks, volumes and ports
// is the owner's. Their default network is, also where it is missing: a start
// makes it again.
func (l *Launcher) attached(record container.Record, stored admission.Stored, g *admission.Grant) {
	networks, volumes, other := stored.Named()
	g.Ports = record.Ports
	g.Networks.Endpoints = map[string][]string{network.DefaultOf(record.UID): nil}
	if !l.Registrar.Served() { // the engine's own is no network then
		g.Networks.Endpoints[network.Default], g.Networks.Endpoints[network.Bridge] = nil, nil
	}
	for _, name := range networks {
		if n, ok := l.Registrar.NetworkAt(name); ok && n.UID == record.UID {
			g.Networks.Endpoints[name] = nil
		}
	}
	if host, ok := l.Ledger.ByContainer(other); ok && host.UID == record.UID {
		g.Networks.Mode = "container:" + other
	}
	for _, name := range volumes {
		if v, ok := l.Registrar.VolumeAt(name); ok && v.UID == record.UID {
			g.Volumes = append(g.Volumes, admission.VolumeGrant{EngineName: name})
		}
	}
}

func (l *Launcher) runtime() string {
	if l.Runtime == nil {
		return ""
	}
	return l.Runtime()
}

// devicesOf returns the devices of a claim as the host has them now.
func (l *Launcher) devicesOf(record container.Record) []gpu.Device {
	return slices.DeleteFunc(slices.Clone(l.Devices()), func(d gpu.Device) bool {
		return !slices.ContainsFunc(record.Devices, func(g gpu.Grant) bool { return g.UUID == d.UUID })
	})
}

// fit gives a container what its owner's limits allow before it starts.
func (l *Launcher) fit(ctx context.Context, record container.Record, excess admission.Update) error {
	if excess.Empty() {
		return nil
	}
	body, err := admission.Encode(excess)
	if err != nil {
		return err
	}
	if _, err := l.Engine.Update(ctx, record.ContainerID, body); err != nil {
		return err
	}
	l.Log.InfoContext(ctx, "container fitted to its owner's limits", "container", record.ContainerID, "claim", record.ID, "update", string(body))
	return nil
}
