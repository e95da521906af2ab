package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// ping answers for an engine that is up, as every client asks before each
// command. One that isn't is asked, for what is wrong.
func (c *call) ping() error {
	if !c.Observer.Up() || c.API() == "" {
		return c.pass()
	}
	h := c.w.Header()
	for key, value := range map[string]string{
		"Api-Version": c.API(), "Docker-Experimental": "false", "Ostype": "linux",
		"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache",
		"Content-Type": "text/plain; charset=utf-8", "Content-Length": "2",
	} {
		h.Set(key, value)
	}
	if c.match.Method == http.MethodGet {
		_, _ = c.w.Write([]byte("OK")) // a client that went needs no answer
	}
	return errAnswered
}

// info answers with the engine's own words, less what speaks of others: the
// counts are the caller's.
func (c *call) info() error {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/info", nil, nil)
	if err != nil || c.roles.Admin {
		if err != nil {
			return err
		}
		return c.raw(http.StatusOK, data)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	for _, key := range []string{"Labels", "Swarm", "Plugins", "ContainerdCommit", "RegistryConfig", "HttpProxy", "HttpsProxy", "NoProxy", "Containerd"} {
		delete(doc, key)
	}
	for key, n := range c.counts() {
		doc[key] = json.RawMessage(fmt.Sprint(n))
	}
	return c.json(http.StatusOK, doc)
}

// counts returns the caller's containers by state.
func (c *call) counts() map[string]int {
	n := map[string]int{"Containers": 0, "ContainersRunning": 0, "ContainersPaused": 0, "ContainersStopped": 0}
	for _, r := range c.Ledger.Records() {
		if r.UID != c.who.UID {
			continue
		}
		n["Containers"]++
		if r.State == "running" {
			n["ContainersRunning"]++
		} else {
			n["ContainersStopped"]++
		}
	}
	return n
}
