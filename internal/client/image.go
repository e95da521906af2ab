package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// Images returns the shared images and the caller's own, newest first, or
// everybody's where allUsers is set, which admins may.
func (c *Client) Images(ctx context.Context, allUsers bool) ([]apitype.Image, error) {
	return get[[]apitype.Image](ctx, c, "/v1/images", everybody(allUsers))
}

// RemoveImage takes a name away, and the image once nobody needs it.
func (c *Client) RemoveImage(ctx context.Context, name string, force bool) ([]apitype.RemovedImage, error) {
	query := url.Values{"name": {name}}
	if force {
		query.Set("force", "true")
	}
	return send[[]apitype.RemovedImage](ctx, c, http.MethodDelete, "/v1/images", query, nil)
}

// ShareImage lets everybody read an image under its full name, or no longer.
func (c *Client) ShareImage(ctx context.Context, name string, shared bool) (apitype.ImageName, error) {
	path := "/v1/images/unshare"
	if shared {
		path = "/v1/images/share"
	}
	return send[apitype.ImageName](ctx, c, http.MethodPost, path, nil, apitype.NameImage{Name: name})
}

// SaveImages writes an archive of images. One that broke off is an error.
func (c *Client) SaveImages(ctx context.Context, names []string, to io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, dockerAPI+"/images/get", url.Values{"names": names}, nil)
	if err != nil {
		return err
	}
	defer drop(res.Body)
	if _, err := io.Copy(to, res.Body); err != nil {
		return c.broken(ctx, fmt.Errorf("read the archive: %w", err))
	}
	return nil
}

// LoadImages loads an archive, as it is or compressed with gzip or bzip2, and
// calls told with each line that the daemon says about it.
func (c *Client) LoadImages(ctx context.Context, from io.Reader, told func(string)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://ds01"+dockerAPI+"/images/load?quiet=1", io.NopCloser(bufio.NewReader(from)))
	if err != nil {
		return fmt.Errorf("build the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-tar")
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer drop(res.Body)
	if res.StatusCode >= http.StatusBadRequest {
		return failure(res)
	}
	for answers := json.NewDecoder(res.Body); ; {
		var said struct{ Stream, Error string }
		err := answers.Decode(&said)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.broken(ctx, fmt.Errorf("read the answer: %w", err))
		case said.Error != "":
			return &problem.Error{What: "Images not loaded", Why: problem.Because(problem.ErrInvalid, strings.TrimPrefix(said.Error, "ds01: "))}
		case said.Stream != "":
			told(strings.TrimSpace(said.Stream))
		}
	}
}
