package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// noLogin is an empty login as its header has it: {} in base64.
const noLogin = "e30="

// askRegistry sends a request of ours that the engine answers with a
// registry's help, with the client's login for it.
func (c *call) askRegistry(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	login := c.r.Header.Get("X-Registry-Auth")
	if login == "" && c.match.Op == admission.ImagePush {
		login = noLogin // SDKs that have none send none, and the engine wants one or a body
	}
	return c.send(ctx, method, path, query, nil, map[string]string{"X-Registry-Auth": login})
}

// only returns the parameters of these names that have a value.
func (c *call) only(keys ...string) url.Values {
	query := url.Values{}
	for _, key := range keys {
		for _, value := range c.match.Query[key] {
			if value != "" {
				query.Add(key, value)
			}
		}
	}
	return query
}

// imageCreate pulls an image, or imports one.
func (c *call) imageCreate() error {
	from, source := c.match.Query.Get("fromImage"), c.match.Query.Get("fromSrc")
	switch {
	case from != "" && source == "":
		return c.pull(from)
	case from == "" && source == "-":
		return c.imageImport()
	}
	return &problem.Error{
		What: "Image not imported", Why: problem.Because(problem.ErrDenied, "ds01 fetches nothing from addresses: an import reads what the client sends"),
		Next: "Fetch it yourself: curl URL | docker import - NAME.",
	}
}

// pull fetches an image for everybody. A name in somebody's own repository is
// nobody's to fetch.
func (c *call) pull(from string) error {
	recorder.Hide(c.r.Context(), []string{strings.TrimSuffix(from, event.Reference(from))}) // a login, as addresses have it
	what := "Image " + from + " not pulled"
	tag := c.match.Query.Get("tag")
	if err := c.checkPull(c.r.Context(), what, from, withTag(from, tag), policy.Named(from, tag, true)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	resp, err := c.askRegistry(ctx, http.MethodPost, "/images/create", c.only("fromImage", "tag", "platform"))
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	var full error
	defer c.Images.Renamed()
	err = c.follow(resp, func(doc []byte) []byte {
		if full == nil {
			full = c.room(what, 0)
		}
		if full != nil {
			cancel() // the engine ends a pull that nobody waits for
			return nil
		}
		return doc
	})
	switch {
	case full != nil:
		return c.tellError(full)
	case err != nil && !errors.Is(err, errAnswered):
		panic(http.ErrAbortHandler) // a stream that broke off must not look whole
	}
	return errAnswered
}

// checkPull refuses to fetch what is nobody's to fetch, or now.
func (c *call) checkPull(ctx context.Context, what, from, reference string, image policy.Image) error {
	if _, personal := account.ImageOwner(from); personal {
		return &problem.Error{
			What: what, Why: problem.Because(problem.ErrDenied, "names that begin with ds01-<uid>/ are people's own images"),
			Next: "Pull an image by its name at a registry.",
		}
	}
	if err := c.checkRegistry(what, from); err != nil {
		return err
	}
	if err := c.Images.CheckLent(reference); err != nil {
		return err
	}
	if err := c.Launcher.JudgeImage(ctx, what, policy.ImagePull, c.who, c.roles.Admin, image); err != nil {
		return err
	}
	return c.room(what, 0)
}

// imageSearch asks a registry what it has.
func (c *call) imageSearch() error {
	term := c.match.Query.Get("term")
	host, _, some := strings.Cut(term, "/")
	if !some || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host = "docker.io"
	}
	if err := c.checkHost("Nothing searched", host); err != nil {
		return err
	}
	return c.passRegistry("/images/search")
}

// distribution asks a registry about one image.
func (c *call) distribution() error {
	what := "No such image: " + c.match.Param
	if _, personal := account.ImageOwner(c.match.Param); personal {
		return &problem.Error{What: what, Why: problem.Because(problem.ErrNotFound, "names that begin with ds01-<uid>/ are at no registry")}
	}
	if err := c.checkRegistry(what, c.match.Param); err != nil {
		return err
	}
	return c.passRegistry("/distribution/" + c.match.Param + "/json")
}

func (c *call) passRegistry(path string) error {
	resp, err := c.askRegistry(c.r.Context(), c.match.Method, path, c.match.Query)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

// auth checks a login at a registry, through the engine. Nothing of it is kept
// or logged.
func (c *call) auth() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	login, err := admission.ReviewAuth(data)
	if err != nil {
		return err
	}
	if err := c.checkHost("Not logged in", registryHost(login.ServerAddress)); err != nil {
		return err
	}
	encoded, err := admission.Encode(login)
	if err != nil {
		return err
	}
	resp, err := c.send(c.r.Context(), http.MethodPost, "/auth", nil, bytes.NewReader(encoded), map[string]string{"Content-Type": "application/json"})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	return c.relay(resp)
}

// registryHost returns the host of the address that a login is for.
func registryHost(address string) string {
	_, rest, schemed := strings.Cut(address, "://")
	if !schemed {
		rest = address
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "" || host == "index.docker.io" || host == "registry-1.docker.io" {
		return "docker.io"
	}
	return host
}
