package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
)

// inspect answers about the caller's container in its owner's words. What
// isn't edited passes as it is.
func (c *call) inspect() error {
	record, err := c.own()
	if err != nil {
		return err
	}
	c.match.Query.Del("size")
	data, err := c.fetch(c.r.Context(), http.MethodGet, c.path(record.ContainerID), c.match.Query, nil)
	if err != nil {
		return err
	}
	keys := []string{"State", "Name", "RestartCount", "HostConfig", "Mounts", "Config", "NetworkSettings"}
	out, err := editObject(make([]byte, 0, len(data)), data, keys, func(out []byte, key string, value []byte) ([]byte, error) {
		switch key {
		case "Name":
			return jsontext.AppendQuote(out, "/"+c.nameOf(record))
		case "State":
			return showState(out, value, record)
		case "RestartCount":
			return strconv.AppendInt(out, int64(record.Restart.Count), 10), nil
		case "HostConfig":
			return c.showHostConfig(out, value, record)
		case "Mounts":
			return editArray(out, value, func(out, m []byte) ([]byte, error) { return c.showMountPoint(out, m, record) })
		case "NetworkSettings":
			return append(out, c.networksTo(record, value)...), nil
		}
		return editObject(out, value, []string{"Image"}, func(out []byte, _ string, _ []byte) ([]byte, error) {
			return jsontext.AppendQuote(out, record.Image)
		})
	})
	if err != nil {
		return fmt.Errorf("edit the engine's answer: %w", err)
	}
	return c.raw(http.StatusOK, out)
}

// nameOf returns what the caller calls a container.
func (c *call) nameOf(record container.Record) string {
	if record.UID == c.who.UID {
		return record.Name
	}
	return account.EngineName(record.Name, record.UID)
}

// networksTo is ownNetworkNames for the owner; others see the engine's names.
func (c *call) networksTo(record container.Record, value []byte) []byte {
	if record.UID == c.who.UID {
		return c.ownNetworkNames(value)
	}
	return value
}

// showState appends how the container is: one that ds01 will start again is
// restarting, of which the engine knows nothing.
func showState(out, state []byte, record container.Record) ([]byte, error) {
	running, err := member(state, "Running")
	if err != nil {
		return out, err
	}
	if !record.Restarting() || string(running) == "true" {
		return append(out, state...), nil
	}
	return editObject(out, state, []string{"Status", "Running", "Restarting"}, func(out []byte, key string, _ []byte) ([]byte, error) {
		if key == "Status" {
			return append(out, `"restarting"`...), nil
		}
		return append(out, "true"...), nil
	})
}

// showHostConfig appends what was asked for: the owner's paths and names, and
// the restart policy that ds01 keeps for them.
func (c *call) showHostConfig(out, value []byte, record container.Record) ([]byte, error) {
	return editObject(out, value, []string{"NetworkMode", "RestartPolicy", "Mounts"}, func(out []byte, key string, value []byte) ([]byte, error) {
		switch key {
		case "NetworkMode":
			return append(out, c.networksTo(record, value)...), nil
		case "RestartPolicy":
			return showPolicy(out, record.Restart.Policy)
		}
		return editArray(out, value, func(out, m []byte) ([]byte, error) {
			return editObject(out, m, []string{"Source"}, func(out []byte, _ string, value []byte) ([]byte, error) {
				return editString(out, value, func(source string) string { return c.volumeName(ownerPath(record, source)) })
			})
		})
	})
}

func showPolicy(out []byte, p container.RestartPolicy) ([]byte, error) {
	shown := struct {
		Name              string
		MaximumRetryCount int
	}{p.Name, p.MaxRetries}
	if p.Name == "" {
		shown.Name = container.RestartNo
	}
	data, err := json.Marshal(shown)
	return append(out, data...), err
}

// showMountPoint appends a mount with the owner's path or name.
func (c *call) showMountPoint(out, m []byte, record container.Record) ([]byte, error) {
	return editObject(out, m, []string{"Name", "Source"}, func(out []byte, key string, value []byte) ([]byte, error) {
		return editString(out, value, func(text string) string {
			if key == "Name" {
				return c.volumeName(text)
			}
			return ownerPath(record, text)
		})
	})
}
