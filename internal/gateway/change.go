package gateway

import (
	"context"
	"net/http"
)

// changes tells which files differ from the image's.
func (c *call) changes() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	return c.still(record, func(during context.Context) error {
		data, err := c.fetch(context.WithoutCancel(during), http.MethodGet, c.path(record.ContainerID), nil, nil)
		if err != nil {
			return err
		}
		return c.raw(http.StatusOK, data)
	})
}

func (c *call) rename() error {
	name := c.match.Query.Get("name")
	return c.alter(func(ctx context.Context, claim string) error { return c.Launcher.Rename(ctx, claim, name) })
}

func (c *call) pause() error { return c.alter(c.Launcher.Pause) }

func (c *call) unpause() error { return c.alter(c.Launcher.Unpause) }

// alter changes the caller's container through the launcher.
func (c *call) alter(do func(ctx context.Context, claim string) error) error {
	record, err := c.own()
	if err != nil {
		return err
	}
	if err := do(c.r.Context(), record.ID); err != nil {
		return err
	}
	c.observe(context.WithoutCancel(c.r.Context()), record)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
