package daemon

import (
	"context"
	"path/filepath"

	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/safety"
)

// facts gathers what bears on this host's safety, from the host and from what
// the engine told when it came up.
func (d *daemon) facts(ctx context.Context) safety.Facts {
	f := probe.Host(ctx, filepath.Dir(d.paths.RunDir), d.paths.Gateway, d.paths.APISocket)
	f.Gateway, f.CgroupVersion = d.paths.Gateway, d.host.tree.Version()
	if info, known := d.host.info(); known {
		f.Engine, f.Runc, f.DefaultRuntime, f.Remapped = info.Version, info.Runc, info.Runtime, info.Remapped
	}
	f.Dockerd = probe.Dockerd(ctx, d.paths.Engine, filepath.Dir(d.paths.RunDir))
	setup, err := d.engine.Setup(ctx)
	if err != nil {
		d.Log.WarnContext(ctx, "the engine's setup isn't judged", "error", err)
		return f
	}
	f.Engaged = &safety.Engaged{
		Bridge: setup.Bridge, Apart: setup.Apart, OnBridge: setup.OnBridge, LiveRestore: setup.LiveRestore,
	}
	return f
}
