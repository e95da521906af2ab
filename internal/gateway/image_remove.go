package gateway

import (
	"context"
	"net/http"
	"strconv"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// imageRemove takes names away, and images that nobody else needs.
func (c *call) imageRemove() error {
	ctx := context.WithoutCancel(c.r.Context())
	steps, err := c.Images.Remove(ctx, c.person(), c.match.Param, curator.Removal{Force: c.truth("force"), KeepParents: c.truth("noprune")})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.ownRemoved(steps))
}

// imagePrune removes the caller's images that nothing uses.
func (c *call) imagePrune() error {
	want, filters, err := c.pruneFilters("dangling", "until")
	if err != nil {
		return err
	}
	all := false
	if wish := filters["dangling"]; len(wish) > 0 {
		dangling, err := strconv.ParseBool(wish[0])
		if err != nil {
			return badFilter("dangling is true or false")
		}
		all = !dangling
	}
	takes := func(i container.Image) bool { return want.takes(i.CreatedAt, i.Labels) }
	steps, bytes, err := c.Images.Prune(context.WithoutCancel(c.r.Context()), c.person(), all, takes)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"ImagesDeleted": c.ownRemoved(steps), "SpaceReclaimed": bytes})
}
