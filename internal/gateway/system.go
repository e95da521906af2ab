package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"ds01.dev/ds01/internal/label"
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

// events streams what happens to the caller's containers; administrators see
// everything.
func (c *call) events() error {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return err
	}
	if err := filters.allow("container", "event", "image", "label", "type"); err != nil {
		return err
	}
	for i, reference := range filters["container"] {
		record, err := c.find(reference)
		if err != nil {
			return err
		}
		filters["container"][i] = record.ContainerID
	}
	if err := c.imageFilter(filters); err != nil {
		return err
	}
	if !c.roles.Admin && len(filters["type"]) == 0 {
		filters["type"] = []string{"container", "image"} // other kinds belong to nobody, and event drops them
	}
	query := url.Values{"filters": {filters.encode()}}
	for _, key := range []string{"since", "until"} {
		if v := c.match.Query.Get(key); v != "" {
			query.Set(key, v)
		}
	}
	resp, err := c.ask(c.r.Context(), http.MethodGet, "/events", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read until the client goes
	return c.relayDocuments(resp, c.event)
}

// event returns an event in the caller's names; ok is false where it isn't
// theirs to see.
func (c *call) event(raw []byte) (out []byte, ok bool) {
	if c.roles.Admin {
		return raw, true
	}
	var e struct {
		Type  string
		Actor struct {
			ID         string
			Attributes map[string]string
		}
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, false
	}
	if e.Type == "image" {
		return c.ownImages(raw), c.Images.Hears(c.person(), e.Actor.ID, e.Actor.Attributes["name"])
	}
	uid, known := c.Ledger.OwnerOf(e.Actor.ID)
	record, ok := c.Ledger.ByContainer(e.Actor.ID)
	if !known {
		record, ok = c.Ledger.Record(e.Actor.Attributes[label.Claim])
		uid, known = record.UID, ok && record.ContainerID == "" // its create isn't answered yet
	}
	if !known || uid != c.who.UID {
		return nil, false
	}
	if ok { // of one that is gone only the id is known
		raw = namedImage(raw, e.Actor.Attributes["image"], record.Image)
	}
	return c.ownNames(raw), true
}

// namedImage puts what the owner called the image in the place of its id.
func namedImage(raw []byte, id, name string) []byte {
	quoted, err := json.Marshal(name)
	if err != nil || !strings.HasPrefix(id, "sha256:") {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte(`"`+id+`"`), quoted)
}
