package installer

import (
	"context"
	"errors"
	"fmt"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/network"
)

// Networks are those of an engine.
type Networks interface {
	Networks(ctx context.Context) ([]network.Observed, error)
	RemoveNetwork(ctx context.Context, id string) error
}

// Tidy removes the networks that ds01 made for people without being asked, and
// with all those that people made, too: a ds01 that doesn't know them can't
// make them again. Stay names those that can't be removed: something is on
// them.
func Tidy(ctx context.Context, e Networks, all bool) (stay []string, err error) {
	there, err := e.Networks(ctx)
	if err != nil {
		return nil, fmt.Errorf("remove ds01's networks: %w", err)
	}
	var errs []error
	for _, n := range there {
		_, uid, ours := account.SplitEngineName(n.Name)
		if !ours || !all && n.Name != network.DefaultOf(uid) {
			continue
		}
		if err := e.RemoveNetwork(ctx, n.ID); err != nil {
			stay = append(stay, n.Name)
			errs = append(errs, err)
		}
	}
	if len(stay) > 0 && !all {
		return stay, nil // they are known when ds01 comes back
	}
	return stay, errors.Join(errs...)
}
