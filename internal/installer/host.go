package installer

import (
	"context"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/safety"
)

// Judge says of this host, with an engine that answers at a socket, what 'ds01
// doctor' would.
func Judge(ctx context.Context, e Engine, socket string) []apitype.Check {
	f := probe.Host(ctx, "/run", "/run/ds01/ds01.sock")
	if info, err := e.Info(ctx); err == nil { // what isn't known isn't judged
		f.Engine, f.Runc, f.DefaultRuntime = info.Version, info.Runc, info.Runtime
	}
	if setup, err := e.Setup(ctx); err == nil {
		f.Engaged = &safety.Engaged{Bridge: setup.Bridge, Apart: setup.Apart, OnBridge: setup.OnBridge, LiveRestore: setup.LiveRestore}
	}
	f.Dockerd = probe.Dockerd(ctx, socket, "/run")
	return safety.Judge(f)
}
