package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	godbus "github.com/godbus/dbus/v5"
)

// A Unit is what systemd tells about a service or a socket.
type Unit struct {
	Loaded   bool     // it has a file
	Active   bool     // it runs, or is on its way to
	MainPID  int      // of a service that runs, else 0
	KillMode string   // of a service: what ends with it
	Command  []string // of a service: its program's words, as they are written
	Listens  []string // of a socket: what it listens at
	Needs    []string // units that end when it is stopped
}

// Unit looks at one. A unit that systemd doesn't know isn't Loaded.
func (c *Connection) Unit(ctx context.Context, name string) (Unit, error) {
	var u Unit
	err := c.with(ctx, func() error {
		all, err := c.conn.GetAllPropertiesContext(ctx, name)
		if err != nil {
			return fmt.Errorf("ask for %s: %w", name, err)
		}
		u = unit(all)
		return nil
	})
	return u, err
}

func unit(all map[string]any) Unit {
	u := Unit{Loaded: all["LoadState"] == "loaded"}
	u.Active = slices.Contains([]any{"active", "activating", "reloading"}, all["ActiveState"])
	u.KillMode, _ = all["KillMode"].(string)
	if pid, ok := all["MainPID"].(uint32); ok {
		u.MainPID = int(pid)
	}
	if starts, _ := all["ExecStart"].([][]any); len(starts) > 0 && len(starts[0]) > 1 {
		u.Command, _ = starts[0][1].([]string)
	}
	listens, _ := all["Listen"].([][]any)
	for _, l := range listens {
		if len(l) == 2 {
			u.Listens = append(u.Listens, fmt.Sprint(l[1]))
		}
	}
	for _, key := range []string{"RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf"} {
		names, _ := all[key].([]string)
		for _, name := range names {
			if !slices.Contains(u.Needs, name) {
				u.Needs = append(u.Needs, name)
			}
		}
	}
	return u
}

// ReadUnits has systemd read its unit files again.
func (c *Connection) ReadUnits(ctx context.Context) error {
	return c.with(ctx, func() error {
		if err := c.conn.ReloadContext(ctx); err != nil {
			return fmt.Errorf("have systemd read its unit files: %w", err)
		}
		return nil
	})
}

// Start starts a unit and waits for it. How often it was started before
// doesn't matter.
func (c *Connection) Start(ctx context.Context, name string) error {
	return c.with(ctx, func() error {
		_ = c.conn.ResetFailedUnitContext(ctx, name) // one that isn't loaded has not failed
		return job(ctx, "start", name, c.conn.StartUnitContext)
	})
}

// Stop stops a unit and waits for its end.
func (c *Connection) Stop(ctx context.Context, name string) error {
	return c.with(ctx, func() error {
		err := job(ctx, "stop", name, c.conn.StopUnitContext)
		var refused godbus.Error
		if errors.As(err, &refused) && refused.Name == "org.freedesktop.systemd1.NoSuchUnit" {
			return nil
		}
		return err
	})
}

// Reread has a service read its configuration.
func (c *Connection) Reread(ctx context.Context, name string) error {
	return c.with(ctx, func() error { return job(ctx, "reload", name, c.conn.ReloadUnitContext) })
}

// with calls f with a connection.
func (c *Connection) with(ctx context.Context, f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.connect(ctx); err != nil {
		return err
	}
	return f()
}

// job has systemd do something with a unit, and waits until it is done.
func job(ctx context.Context, verb, name string, begin func(ctx context.Context, name, mode string, ch chan<- string) (int, error)) error {
	done := make(chan string, 1)
	if _, err := begin(ctx, name, "replace", done); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("%s %s: %s; journalctl -u %s says why", verb, name, result, name)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", verb, name, ctx.Err())
	}
}
