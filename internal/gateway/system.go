package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
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
	if !c.roles.Admin && len(filters["type"]) == 0 {
		filters["type"] = []string{"container"} // other kinds belong to nobody, and event drops them
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
		Actor struct {
			ID         string
			Attributes map[string]string
		}
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, false
	}
	uid, known := c.Ledger.OwnerOf(e.Actor.ID)
	if record, pending := c.Ledger.Record(e.Actor.Attributes[label.Claim]); !known && pending && record.ContainerID == "" {
		uid, known = record.UID, true // its create isn't answered yet
	}
	if !known || uid != c.who.UID {
		return nil, false
	}
	return c.ownNames(raw), true
}

// pull fetches an image for everybody. A name in somebody's own repository is
// nobody's to fetch.
func (c *call) pull() error {
	from := c.match.Query.Get("fromImage")
	if from == "" {
		return &problem.Error{What: "Image not imported", Why: problem.Because(problem.ErrDenied, "importing images is not served"), Next: "Pull an image with 'docker pull NAME'."}
	}
	if _, personal := account.ImageOwner(from); personal {
		return &problem.Error{
			What: "Image " + from + " not pulled", Why: problem.Because(problem.ErrDenied, "names that begin with ds01-<uid>/ are people's own images"),
			Next: "Pull an image by its name at a registry.",
		}
	}
	target := "/images/create?" + c.match.Query.Encode()
	if c.version != "" {
		target = "/v" + c.version + target
	}
	req, err := http.NewRequestWithContext(c.r.Context(), http.MethodPost, target, nil)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if auth := c.r.Header.Get("X-Registry-Auth"); auth != "" {
		req.Header.Set("X-Registry-Auth", auth)
	}
	resp, err := c.Engine.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

// imageList answers with the images the caller may use.
func (c *call) imageList() error {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return err
	}
	if err := filters.allow("before", "dangling", "label", "reference", "since", "until"); err != nil {
		return err
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/images/json", c.match.Query, nil)
	if err != nil {
		return err
	}
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("read the engine's list: %w", err)
	}
	kept := make([]map[string]json.RawMessage, 0, len(rows))
	for _, row := range rows {
		if visible, err := c.showImage(row); err != nil {
			return err
		} else if visible {
			kept = append(kept, row)
		}
	}
	return c.json(http.StatusOK, kept)
}

// showImage leaves of an image's names those that the caller may see, and
// reports whether any is left.
func (c *call) showImage(row map[string]json.RawMessage) (bool, error) {
	if c.roles.Admin {
		return true, nil
	}
	visible := false
	for _, key := range []string{"RepoTags", "RepoDigests"} {
		var names []string
		if err := json.Unmarshal(row[key], &names); err != nil {
			return false, fmt.Errorf("read the engine's list: %w", err)
		}
		kept := []string{}
		for _, name := range names {
			if name != "<none>:<none>" && account.ImageVisible([]string{name}, c.who.UID) {
				kept = append(kept, name)
			}
		}
		visible = visible || len(kept) > 0
		data, err := json.Marshal(kept)
		if err != nil {
			return false, fmt.Errorf("encode the list: %w", err)
		}
		row[key] = data
	}
	return visible, nil
}

// imageInspect answers about an image that the caller may use.
func (c *call) imageInspect() error {
	missing := &problem.Error{What: "No such image: " + c.match.Param, Why: problem.Because(problem.ErrNotFound, "it isn't on this host"), Next: "Fetch it with 'docker pull'."}
	image, err := c.Engine.Image(c.r.Context(), c.match.Param)
	if errors.Is(err, problem.ErrNotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	if !c.roles.Admin && !account.ImageVisible(image.Names, c.who.UID) {
		return missing
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/images/"+image.ID+"/json", c.match.Query, nil)
	if err != nil {
		return err
	}
	if c.roles.Admin {
		return c.raw(http.StatusOK, data)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	if _, err := c.showImage(doc); err != nil {
		return err
	}
	return c.json(http.StatusOK, doc)
}
