package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
)

// The types of events that speak of what people own.
const (
	eventContainer = "container"
	eventImage     = "image"
	eventNetwork   = "network"
	eventVolume    = "volume"
)

// events streams what happens to what is the caller's; administrators see
// everything.
func (c *call) events() error {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return err
	}
	if err := filters.allow("container", "event", "image", "label", "network", "type", "volume"); err != nil {
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
	// The engine looks for names that begin like this: so do its own, which are
	// the caller's with something behind, but for the default network's.
	if slices.ContainsFunc(filters["network"], func(name string) bool { return name == network.Bridge || name == network.Default }) {
		filters["network"] = append(filters["network"], network.DefaultOf(c.who.UID))
	}
	if !c.roles.Admin && len(filters["type"]) == 0 {
		filters["type"] = []string{eventContainer, eventImage, eventNetwork, eventVolume} // other kinds belong to nobody, and event drops them
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

// A happening is one event, as far as it tells whose it is.
type happening struct {
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
	TimeNano int64 `json:"timeNano"`
}

// event returns an event in the caller's names; ok is false where it isn't
// theirs to see. Administrators see others' in the engine's.
func (c *call) event(raw []byte) (out []byte, ok bool) {
	var h happening
	if err := json.Unmarshal(raw, &h); err == nil {
		out, ok = c.ownEvent(h, raw)
	}
	if !ok && c.roles.Admin {
		return raw, true
	}
	return out, ok
}

// ownEvent returns an event of what is the caller's in their names, as event
// does.
func (c *call) ownEvent(h happening, raw []byte) (out []byte, ok bool) {
	switch h.Type {
	case eventContainer:
		return c.containerEvent(h, raw)
	case eventImage:
		return c.ownImages(raw), c.Images.Hears(c.person(), h.Actor.ID, h.Actor.Attributes["name"])
	case eventNetwork:
		return c.ownNetworkNames(raw), c.hearsNetwork(h)
	case eventVolume:
		return c.ownNames(raw), c.hearsVolume(h)
	}
	return nil, false
}

func (c *call) containerEvent(h happening, raw []byte) (out []byte, ok bool) {
	uid, known := c.Ledger.OwnerOf(h.Actor.ID)
	record, ok := c.Ledger.ByContainer(h.Actor.ID)
	if !known {
		record, ok = c.Ledger.Record(h.Actor.Attributes[label.Claim])
		uid, known = record.UID, ok && record.ContainerID == "" // its create isn't answered yet
	}
	if !known || uid != c.who.UID {
		return nil, false
	}
	if ok { // of one that is gone only the id is known
		raw = namedImage(raw, h.Actor.Attributes["image"], record.Image)
	}
	return c.ownNames(raw), true
}

// hearsNetwork reports whether the caller hears of an event of a network: of
// one of theirs, or one that every host has, and of no container but theirs.
func (c *call) hearsNetwork(h happening) bool {
	name, container := h.Actor.Attributes["name"], h.Actor.Attributes["container"]
	uid, known := c.Registrar.OwnerOfNetwork(h.Actor.ID, name)
	if container == "" {
		return known && uid == c.who.UID
	}
	if !known {
		return (name == network.None || name == network.Bridge) && c.ownedContainer(container)
	}
	return uid == c.who.UID && c.ownedContainer(container)
}

// hearsVolume reports whether the caller hears of an event of a volume: one of
// theirs, in no container but theirs.
func (c *call) hearsVolume(h happening) bool {
	if container := h.Actor.Attributes["container"]; container != "" && !c.ownedContainer(container) {
		return false
	}
	uid, known := c.ownerOfVolume(h)
	return known && uid == c.who.UID
}

// ownedContainer reports whether a container is the caller's, or was a moment
// ago.
func (c *call) ownedContainer(id string) bool {
	uid, known := c.Ledger.OwnerOf(id)
	return known && uid == c.who.UID
}

// How long it may take until a volume has an owner that the engine made, without
// a name, with a container: the create is answered later. And how long to wait
// before looking again.
const (
	volumeMaking = 2 * time.Second
	volumePause  = 20 * time.Millisecond
)

// ownerOfVolume returns who owns the volume of an event, or owned it until a
// moment ago. It waits for the owner of one that was made just now.
func (c *call) ownerOfVolume(h happening) (uid int, known bool) {
	for left := min(volumeMaking, volumeMaking-c.Now().Sub(time.Unix(0, h.TimeNano))); ; left -= volumePause {
		uid, known = c.Registrar.OwnerOfVolume(h.Actor.ID)
		if known || h.Action != "create" || left <= 0 {
			return uid, known
		}
		select {
		case <-c.r.Context().Done():
			return 0, false
		case <-time.After(volumePause):
		}
	}
}

// namedImage puts what the owner called the image in the place of its id.
func namedImage(raw []byte, id, name string) []byte {
	quoted, err := json.Marshal(name)
	if err != nil || !strings.HasPrefix(id, "sha256:") {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte(`"`+id+`"`), quoted)
}
