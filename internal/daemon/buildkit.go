package daemon

import (
	"context"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/problem"
)

// kit builds by the engine's BuildKit, on this host.
type kit struct {
	*buildkit.Builder
	host    *host
	narrows *narrows
}

// Group makes the person's control group and returns its path. Where systemd
// keeps the groups, BuildKit's steps would come into one that it doesn't know.
func (k kit) Group(ctx context.Context, who account.Account) (string, error) {
	if k.host.bySystemd() {
		return "", &problem.Error{
			What: "Image not built",
			Why:  problem.Because(problem.ErrUnavailable, "this engine leaves control groups to systemd, and BuildKit's steps can't be held to your limits there"),
			Next: "Build with DOCKER_BUILDKIT=0.",
		}
	}
	if _, err := k.host.Ensure(ctx, who.UID, k.host.limits(who)); err != nil {
		return "", err
	}
	return k.host.path(who.UID), nil
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
