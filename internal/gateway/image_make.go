package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// making begins what the caller is about to make, which shall have these names,
// and returns the query's repo and tag for the engine: its mark.
func (c *call) making(ctx context.Context, query url.Values, how string, names []string) (container.Making, error) {
	if err := recorder.Before(ctx); err != nil {
		return container.Making{}, err
	}
	m, err := c.Images.Begin(ctx, c.who.UID, how, names)
	repository, tag := splitTag(curator.Mark(m, 0))
	query.Set("repo", repository)
	query.Set("tag", tag)
	return m, err
}

// made ends a making, whose request ended with failed.
func (c *call) made(ctx context.Context, m container.Making, failed error) ([]string, error) {
	answered := failed == nil || errors.Is(failed, errAnswered)
	images, err := c.Images.End(ctx, m, answered)
	switch {
	case answered:
		return images, errors.Join(failed, err)
	case err != nil:
		c.Log.WarnContext(ctx, "image not kept yet", "user", c.who.Name, "making", m.ID, "error", err)
	}
	return images, lostAnswer(failed)
}

// unmade ends a making that the engine can't have done.
func (c *call) unmade(ctx context.Context, m container.Making, err error) error {
	_, eerr := c.Images.End(ctx, m, true)
	return errors.Join(err, eerr)
}

// lostAnswer says that the engine may have made an image.
func lostAnswer(err error) error {
	return &problem.Error{
		What: "The image may or may not have been made", Why: problem.Because(problem.ErrUnavailable, "the engine's answer was lost: "+err.Error()),
		Next: "Look with 'docker images' in a minute: if it was made, it is there under its name.",
	}
}

// wantedNames returns the engine's name of what the caller makes, if it shall
// have one.
func (c *call) wantedNames() ([]string, error) {
	target := withTag(c.match.Query.Get("repo"), c.match.Query.Get("tag"))
	if c.match.Query.Get("repo") == "" {
		return nil, nil
	}
	name, err := curator.OwnName(target, c.who.UID)
	return []string{name}, err
}

// commit makes an image of the caller's container.
func (c *call) commit() error {
	record, err := c.find(c.match.Query.Get("container"))
	if err != nil {
		return err
	}
	c.match.Param = record.Name
	names, err := c.wantedNames()
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
	written, err := c.written(record)
	if err == nil {
		err = c.room("Container "+record.Name+" not committed", written)
	}
	if err != nil {
		return err
	}
	query := c.only("comment", "author", "changes")
	query.Set("container", record.ContainerID)
	query.Set("pause", "0") // it stands still already, whatever the client says
	return c.still(record, func(during context.Context) error {
		ctx := context.WithoutCancel(during)
		m, err := c.making(ctx, query, container.ByCommit, names)
		if err != nil {
			return err
		}
		answer, err := c.fetch(ctx, http.MethodPost, "/commit", query, encoded)
		if _, err := c.made(ctx, m, err); err != nil {
			return err
		}
		return c.raw(http.StatusCreated, answer)
	})
}

const notImported = "Image not imported"

// imageImport makes an image of the file tree that the client sends.
func (c *call) imageImport() error {
	names, err := c.wantedNames()
	if err != nil {
		return err
	}
	if err := admission.CheckChanges(c.match.Query["changes"]); err != nil {
		return err
	}
	if err := c.room(notImported, 0); err != nil {
		c.drain()
		return err
	}
	plain, err := inflated(c.r.Body) // so that what is read is what the engine writes
	if err != nil {
		return &problem.Error{What: notImported, Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Send a tar archive, as it is or compressed."}
	}
	query := c.only("fromSrc", "message", "changes", "platform")
	ctx := context.WithoutCancel(c.r.Context())
	m, err := c.making(ctx, query, container.ByImport, names)
	if err != nil {
		return err
	}
	body := &inflow{from: plain, look: func() error { return c.room(notImported, 0) }}
	resp, err := c.upload("/images/create", query, body)
	whole, full, broken := body.end()
	if err == nil {
		defer resp.Body.Close() //nolint:errcheck // read below
	}
	switch {
	case full != nil:
		c.drain()
		return c.unmade(ctx, m, full)
	case broken != nil:
		return c.unmade(ctx, m, &problem.Error{
			What: notImported, Why: problem.Because(problem.ErrInvalid, "what was sent is broken: "+broken.Error()), Next: "Send it again.",
		})
	case err != nil && !whole: // the engine has heard no end of it
		return c.unmade(ctx, m, err)
	case err != nil:
		_, err = c.made(ctx, m, err)
		return err
	}
	_, err = c.made(ctx, m, c.follow(resp, func(doc []byte) []byte { return doc }))
	return c.late(err)
}

// late tells of a failure in a stream that has begun.
func (c *call) late(err error) error {
	if err == nil || errors.Is(err, errAnswered) {
		return errAnswered
	}
	c.Log.WarnContext(c.r.Context(), "image not kept", "user", c.who.Name, "error", err)
	return c.tellError(err)
}
