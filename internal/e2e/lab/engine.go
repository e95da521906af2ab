package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// A Container is one as the engine itself shows it, past ds01.
type Container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status    string
		Running   bool
		Pid       int
		StartedAt string
	}
	Config struct {
		Labels map[string]string
	}
	HostConfig struct {
		DeviceCgroupRules []string
		CgroupParent      string
	}
	Mounts []struct {
		Source, Destination string
	}
}

// Slots returns the slots that the container may open, by its device rules. A
// rule without the node's mount, or the other way round, is said in place of a
// slot. Cards are whole or cut into single slices, where an instance's number
// is that of its slice.
func (c Container) Slots() []string {
	nodes := map[string]bool{}
	for _, m := range c.Mounts {
		if name, ok := strings.CutPrefix(m.Destination, "/dev/nvidia"); ok {
			nodes[strings.Replace(name, "-mig", ".", 1)] = true
		}
	}
	slots := []string{}
	for _, rule := range c.HostConfig.DeviceCgroupRules {
		var minor int
		if _, err := fmt.Sscanf(rule, "c 120:%d rw", &minor); err != nil {
			slots = append(slots, "rule "+rule)
			continue
		}
		slot := fmt.Sprint(minor / 16)
		if slice := minor % 16; slice > 0 {
			slot += fmt.Sprintf(".%d", slice-1)
		}
		if !nodes[slot] {
			slot = "rule without node " + slot
		}
		delete(nodes, slot)
		slots = append(slots, slot)
	}
	for name := range nodes {
		slots = append(slots, "node without rule "+name)
	}
	return slots
}

// AskEngine sends a request on the engine's own socket and decodes the answer
// into v, unless v is nil.
func (l *Lab) AskEngine(method, path string, v any) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialEngine(ctx, l.Engine) }}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read whole
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// EngineContainers returns every container the engine has, whatever its
// state.
func (l *Lab) EngineContainers() []Container {
	l.t.Helper()
	var list []Container
	var rows []struct {
		ID string `json:"Id"`
	}
	l.must(l.AskEngine("GET", "/containers/json?all=1", &rows))
	for _, row := range rows {
		var c Container
		if err := l.AskEngine("GET", "/containers/"+row.ID+"/json", &c); err != nil {
			continue // removed since
		}
		list = append(list, c)
	}
	return list
}
