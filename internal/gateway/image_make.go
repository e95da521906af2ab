package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// What somebody makes comes without a name, is theirs, and only then gets the
// name it shall have: no other name is ever moved on the way.

// keep notes that the caller made an image, and gives it its name, "" none.
func (c *call) keep(ctx context.Context, image, name, how string) error {
	if err := c.Images.Own(ctx, image, c.who.UID, how); err != nil || name == "" {
		return err
	}
	return c.Images.Adorn(ctx, image, name)
}

// wantedName returns the engine's name of what the caller makes, "" for none.
func (c *call) wantedName() (string, error) {
	target := withTag(c.match.Query.Get("repo"), c.match.Query.Get("tag"))
	if c.match.Query.Get("repo") == "" {
		return "", nil
	}
	return curator.OwnName(target, c.who.UID)
}

// commit makes an image of the caller's container.
func (c *call) commit() error {
	record, err := c.find(c.match.Query.Get("container"))
	if err != nil {
		return err
	}
	c.match.Param = record.Name
	name, err := c.wantedName()
	if err != nil {
		return err
	}
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReviewCommit(data)
	if err != nil {
		return err
	}
	if err := admission.CheckChanges(c.match.Query["changes"]); err != nil {
		return err
	}
	encoded, err := admission.Encode(body)
	if err != nil {
		return err
	}
	query := c.only("comment", "author", "pause", "changes")
	query.Set("container", record.ContainerID)
	ctx := context.WithoutCancel(c.r.Context())
	answer, err := c.fetch(ctx, http.MethodPost, "/commit", query, encoded)
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	if err := c.keep(ctx, made.ID, name, container.ByCommit); err != nil {
		return err
	}
	return c.raw(http.StatusCreated, answer)
}

// imageImport makes an image of the file tree that the client sends.
func (c *call) imageImport() error {
	name, err := c.wantedName()
	if err != nil {
		return err
	}
	if err := admission.CheckChanges(c.match.Query["changes"]); err != nil {
		return err
	}
	query := c.only("fromSrc", "message", "changes", "platform")
	resp, err := c.upload("/images/create", query, c.r.Body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	var failed error
	ctx := context.WithoutCancel(c.r.Context())
	c.follow(resp, func(doc []byte) []byte {
		var said struct{ Status string }
		if json.Unmarshal(doc, &said) == nil && strings.HasPrefix(said.Status, "sha256:") {
			failed = errors.Join(failed, c.keep(ctx, said.Status, name, container.ByImport))
		}
		return doc
	})
	return c.late(failed)
}

// late tells of a failure in a stream that has begun.
func (c *call) late(err error) error {
	if err == nil {
		return errAnswered
	}
	c.Log.WarnContext(c.r.Context(), "image not kept", "user", c.who.Name, "error", err)
	return c.tellError(err)
}
