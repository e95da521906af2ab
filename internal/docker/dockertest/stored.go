package dockertest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"ds01.dev/ds01/internal/container"
)

// storedHost returns the HostConfig of a create request as the engine keeps
// it: with its defaults where nothing was said.
func storedHost(body []byte) (map[string]any, error) {
	var b struct{ HostConfig map[string]any }
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	host := map[string]any{
		"NetworkMode": "default", "IpcMode": "private", "ShmSize": 64 << 20, "Runtime": "runc", "PidMode": "", "Privileged": false,
		"RestartPolicy": map[string]any{"Name": "", "MaximumRetryCount": 0}, "PortBindings": nil, "Binds": nil, "CapAdd": nil,
		"MaskedPaths":   []string{"/proc/asound", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"},
		"ReadonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	maps.Copy(host, b.HostConfig)
	return host, nil
}

// Stored returns a container and the engine's whole answer about it.
func (e *Engine) Stored(ctx context.Context, id string) (o container.Observed, raw []byte, err error) {
	var delay time.Duration
	err = e.call("Inspect", id, func() error {
		delay = e.delays[id]
		c, err := e.find(id)
		if err != nil {
			return err
		}
		o = c.Observed
		o.AutoRemove = c.body.HostConfig.AutoRemove
		raw, err = json.Marshal(map[string]any{
			"Id": c.ID, "Name": "/" + c.Name, "State": map[string]any{"Status": c.State},
			"Config": map[string]any{"Image": c.Image, "User": c.body.User, "Labels": c.Labels}, "HostConfig": c.host,
		})
		return err
	})
	raw, err = after(ctx, delay, raw, err)
	return o, raw, err
}

// Update changes what is stored of a container, as an update that ds01 wrote
// does.
func (e *Engine) Update(_ context.Context, id string, body []byte) (warnings []string, err error) {
	err = e.call("Update", id, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		var change map[string]any
		if err := json.Unmarshal(body, &change); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		if m, ok := change["Memory"].(float64); ok && m > 0 && m < 6<<20 {
			return refuse(http.StatusBadRequest, "Minimum memory limit allowed is 6MB")
		}
		maps.Copy(c.host, change)
		if p, ok := change["RestartPolicy"].(map[string]any); ok {
			name, _ := p["Name"].(string)
			retries, _ := p["MaximumRetryCount"].(float64)
			c.Restart = container.RestartPolicy{Name: name, MaxRetries: int(retries)}
		}
		e.tell(c.ID, "update")
		return nil
	})
	return nil, err
}

// Tamper changes what is stored of a container, as whoever has the engine's
// own socket or files can.
func (e *Engine) Tamper(id, field string, value any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[id].host[field] = value
}

// HostConfig returns what is stored in one field of a container's HostConfig.
func (e *Engine) HostConfig(id, field string) any {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.containers[id].host[field]
}
