package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
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

// restartPolicy is a wish as inspect shows it.
type restartPolicy struct {
	Name              string
	MaximumRetryCount int
}

// inspectedState is how a container is, in the engine's words.
type inspectedState struct {
	Status     string         `json:"Status"`
	Running    bool           `json:"Running"`
	Restarting bool           `json:"Restarting"`
	Rest       jsontext.Value `json:",embed"`
}

// showRestart puts the owner's wish, and what ds01 does about it, in the place
// of what the engine knows, which is nothing.
func (d *inspection) showRestart(record container.Record) {
	p := record.Restart.Policy
	d.HostConfig.RestartPolicy = restartPolicy{p.Name, p.MaxRetries}
	if p.Name == "" {
		d.HostConfig.RestartPolicy.Name = container.RestartNo
	}
	d.RestartCount = record.Restart.Count
	if record.Restarting() && !d.State.Running {
		d.State.Status, d.State.Running, d.State.Restarting = "restarting", true, true
	}
}
