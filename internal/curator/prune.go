package curator

import (
	"context"
	"errors"
	"slices"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Prune removes p's images that no container of theirs uses and want says yes
// to: those without a name of theirs, or with all every one. Administrators
// also remove what is nobody's: images without name and owner and, with all,
// shared ones that no container uses. It returns the steps in the engine's
// names, and the bytes given back as far as the engine tells.
func (c *Curator) Prune(ctx context.Context, p Person, all bool, want func(container.Image) bool) ([]container.Removed, int64, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	list, err := c.engine.Images(ctx)
	if err != nil {
		return nil, 0, err
	}
	users, err := c.users(ctx)
	if err != nil {
		return nil, 0, err
	}
	var removed []container.Removed
	var bytes int64
	for _, i := range list {
		if !want(i) || uses(users, i.ID, p.UID) || !c.prunable(p, i, all, len(users[i.ID]) > 0) {
			continue
		}
		size := c.ownSize(ctx, i)
		steps, err := c.removeByID(ctx, p, i, Removal{Force: len(i.Names) > 0})
		if err != nil && !errors.Is(err, problem.ErrConflict) && !errors.Is(err, problem.ErrNotFound) {
			return removed, bytes, err
		}
		removed = append(removed, steps...)
		if slices.ContainsFunc(steps, func(r container.Removed) bool { return r.Deleted != "" }) {
			bytes += size
		}
	}
	return removed, bytes, nil
}

func (c *Curator) prunable(p Person, i container.Image, all, used bool) bool {
	owners := c.Owners(i.ID)
	if len(ownNames(p, i)) > 0 || owned(owners, p.UID) {
		return all || len(ownNames(p, i)) == 0
	}
	if !p.Admin || len(owners) > 0 || used {
		return false
	}
	return len(i.Names) == 0 || all && !slices.ContainsFunc(i.Names, func(name string) bool {
		_, personal := account.ImageOwner(name)
		return personal || c.lent(i.ID, name)
	})
}

// ownSize returns the bytes of an image beyond its parent's.
func (c *Curator) ownSize(ctx context.Context, i container.Image) int64 {
	if i.Parent == "" {
		return i.Size
	}
	parent, err := c.engine.Image(ctx, i.Parent)
	if err != nil {
		return i.Size
	}
	return i.Size - parent.Size
}
