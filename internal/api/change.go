package api

import (
	"context"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
)

func (c *call) pause() error { return c.alter(c.Launcher.Pause) }

func (c *call) unpause() error { return c.alter(c.Launcher.Unpause) }

func (c *call) rename() error {
	var want apitype.RenameContainer
	if err := c.read(&want); err != nil {
		return err
	}
	return c.alter(func(ctx context.Context, claim string) error { return c.Launcher.Rename(ctx, claim, want.Name) })
}

func (c *call) addGPUs() error {
	var want apitype.AddGPUs
	if err := c.read(&want); err != nil {
		return err
	}
	request, err := gpu.ParseRequest(want.Request)
	if err != nil {
		return err
	}
	return c.alter(func(ctx context.Context, claim string) error { return c.Launcher.AddDevices(ctx, claim, request) })
}

func (c *call) releaseGPUs() error {
	var want apitype.ReleaseGPUs
	if err := c.read(&want); err != nil {
		return err
	}
	return c.alter(func(ctx context.Context, claim string) error {
		return c.Launcher.ReleaseDevices(ctx, claim, want.Devices, want.Force)
	})
}

// alter changes the container that {name} means, and shows it.
func (c *call) alter(do func(ctx context.Context, claim string) error) error {
	record, err := c.findMade()
	if err != nil {
		return err
	}
	if err := do(c.r.Context(), record.ID); err != nil {
		return err
	}
	c.observe(record.ContainerID)
	return c.show(record.ID)
}
