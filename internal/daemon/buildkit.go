package daemon

import (
	"context"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/docker/buildkit"
)

// kit builds by the engine's BuildKit, on this host.
type kit struct {
	*buildkit.Builder
	host    *host
	narrows *narrows
}

// Group makes the person's control group and returns its path, or its slice
// where systemd keeps the groups.
func (k kit) Group(ctx context.Context, who account.Account) (string, error) {
	return k.host.Ensure(ctx, who.UID, k.host.limits(who))
}

// NoNetwork returns why steps can't have a network, "" where they can. It is the
// engine's default bridge, the same for all: they have one only where nobody
// reaches anybody on it.
func (k kit) NoNetwork(ctx context.Context) (string, error) {
	if !k.host.bridged() {
		return "this host's engine runs without networks", nil
	}
	if apart, err := k.host.d.engine.Apart(ctx); apart || err != nil {
		return "", err
	}
	return `people's steps would reach one another on the engine's default bridge; administrators: set "icc": false in the engine's daemon.json`, nil
}
