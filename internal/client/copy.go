package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// A PathStat is what is at a path of a container.
type PathStat struct {
	Name       string      `json:"name"`
	Size       int64       `json:"size"`
	Mode       os.FileMode `json:"mode"`
	Modified   time.Time   `json:"mtime"`
	LinkTarget string      `json:"linkTarget"` // of a symbolic link
}

// StatPath tells what is at a path of a container, known by its id. Nothing is
// problem.ErrNotFound.
func (c *Client) StatPath(ctx context.Context, id, path string) (PathStat, error) {
	res, err := c.archive(ctx, http.MethodHead, id, path, nil)
	if err != nil {
		return PathStat{}, err
	}
	defer drop(res.Body)
	return readStat(res)
}

// CopyOut returns a tar archive of what is at a path of a container, known by
// its id. The caller closes it.
func (c *Client) CopyOut(ctx context.Context, id, path string) (io.ReadCloser, PathStat, error) {
	res, err := c.archive(ctx, http.MethodGet, id, path, nil)
	if err != nil {
		return nil, PathStat{}, err
	}
	stat, err := readStat(res)
	if err != nil {
		drop(res.Body)
		return nil, stat, err
	}
	return res.Body, stat, nil
}

// CopyIn unpacks a tar archive in a directory of a container, known by its id.
func (c *Client) CopyIn(ctx context.Context, id, directory string, archive io.Reader) error {
	res, err := c.archive(ctx, http.MethodPut, id, directory, archive)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (c *Client) archive(ctx context.Context, method, id, path string, body io.Reader) (*http.Response, error) {
	target := "http://ds01" + dockerAPI + "/containers/" + url.PathEscape(id) + "/archive?" + url.Values{"path": {path}}.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer drop(res.Body)
		return nil, failure(res)
	}
	return res, nil
}

func readStat(res *http.Response) (PathStat, error) {
	var stat PathStat
	text, err := base64.StdEncoding.DecodeString(res.Header.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(text, &stat)
	}
	if err != nil {
		return stat, fmt.Errorf("read what is at the path: %w", err)
	}
	return stat, nil
}
