package dockertest

import (
	"context"
	"net/http"
)

// Pause makes a running container stand still.
func (e *Engine) Pause(_ context.Context, id string) error {
	return e.call("Pause", id, func() error {
		c, err := e.find(id)
		switch {
		case err != nil:
			return err
		case c.State != "running":
			return refuse(http.StatusConflict, "the container is not running, or paused already")
		}
		c.State = "paused"
		e.tell(c.ID, "pause")
		return nil
	})
}

// Unpause lets a paused container go on.
func (e *Engine) Unpause(_ context.Context, id string) error {
	return e.call("Unpause", id, func() error {
		c, err := e.find(id)
		switch {
		case err != nil:
			return err
		case c.State != "paused":
			return refuse(http.StatusInternalServerError, "the container is not paused")
		}
		c.State = "running"
		e.tell(c.ID, "unpause")
		return nil
	})
}

// Rename gives a container another name.
func (e *Engine) Rename(_ context.Context, id, name string) error {
	return e.call("Rename", id, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		for _, other := range e.containers {
			if other.Name == name && other.ID != c.ID {
				return refuse(http.StatusConflict, "the name is already in use")
			}
		}
		c.Name = name
		e.tell(c.ID, "rename")
		return nil
	})
}
