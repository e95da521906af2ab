package dockertest

import (
	"context"
	"errors"
	"net/http"
	"path"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// ReadFile reads a file of a container.
func (e *Engine) ReadFile(_ context.Context, id, name string) (data []byte, err error) {
	err = e.call("ReadFile", name, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		f, ok := c.files[path.Clean(name)]
		if !ok || f.Dir {
			return refuse(http.StatusNotFound, "Could not find the file "+name)
		}
		data = f.Data
		return nil
	})
	return data, err
}

// Exists reports whether there is something at a path of a container.
func (e *Engine) Exists(_ context.Context, id, name string) (ok bool, err error) {
	err = e.call("Exists", name, func() error {
		c, err := e.find(id)
		if err == nil {
			_, ok = c.files[path.Clean(name)]
		}
		return err
	})
	return ok, err
}

// WriteFiles writes files into a container.
func (e *Engine) WriteFiles(_ context.Context, id string, files []container.File) error {
	return e.call("WriteFiles", id, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		for _, f := range files {
			c.files[path.Clean(f.Path)] = f
		}
		return nil
	})
}

// errHungUp ends an event stream when the engine ends.
var errHungUp = errors.New("the engine hung up")

// Events calls changed for every event until ctx ends or the engine does.
func (e *Engine) Events(ctx context.Context, ready func(), changed func(container.Event)) error {
	events := make(chan container.Event, 1024)
	err := e.call("Events", "", func() error {
		e.watchers[events] = true
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.watchers, events)
	}()
	ready()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-events:
			if !ok {
				return errHungUp
			}
			changed(event)
		}
	}
}

// Size returns how much was written into a container.
func (e *Engine) Size(_ context.Context, id string) (size quantity.ByteSize, err error) {
	err = e.call("Size", id, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		for _, f := range c.files {
			size += quantity.ByteSize(len(f.Data))
		}
		return nil
	})
	return size, err
}
