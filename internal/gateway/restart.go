package gateway

import (
	"context"
	"net/http"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/lifecycle"
)

// update changes resources of the caller's container, and its restart policy.
func (c *call) update() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.DecodeUpdate(data)
	if err != nil {
		return err
	}
	warnings, err := c.Launcher.Update(c.r.Context(), record.ID, body)
	if err != nil {
		return err
	}
	if warnings == nil {
		warnings = []string{}
	}
	return c.json(http.StatusOK, map[string]any{"Warnings": warnings})
}

// end is change for what ends the container on purpose: its restart policy
// hears of it first.
func (c *call) end() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	if err := c.Launcher.Halt(context.WithoutCancel(c.r.Context()), record.ID); err != nil {
		return err
	}
	return c.change()
}

// kill sends a signal; most ask the container to end.
func (c *call) kill() error {
	if lifecycle.AsksToEnd(c.match.Query.Get("signal")) {
		return c.end()
	}
	return c.change()
}

// remove with force ends what runs. Without it, what runs stays.
func (c *call) remove() error {
	switch strings.ToLower(strings.TrimSpace(c.match.Query.Get("force"))) { // as the engine reads it
	case "", "0", "no", "false", "none":
		return c.change()
	}
	return c.end()
}
