package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// recipe reviews a Dockerfile and returns the one that the engine gets, with
// the ids of images that are there and the caller's to use.
func (b *building) recipe(ctx context.Context, text []byte) ([]byte, error) {
	read, err := b.Recipes.Read(text)
	if err != nil {
		return nil, err
	}
	recipe, err := admission.ReadRecipe(read, b.ask.Args, b.ask.Target, b.Recipes)
	if err != nil {
		return nil, err
	}
	if err := b.judgeBases(ctx, recipe.Bases); err != nil {
		return nil, err
	}
	ids, grounds := make([]string, len(recipe.Bases)), make([]admission.Ground, len(recipe.Bases))
	for i, base := range recipe.Bases {
		image, err := b.base(ctx, base)
		if err != nil {
			return nil, err
		}
		ids[i] = image.ID
		if grounds[i], err = b.ground(base, image.Image); err != nil {
			return nil, err
		}
	}
	if err := recipe.CheckDirs(grounds, b.Recipes); err != nil {
		return nil, err
	}
	ours, shown := recipe.Write(ids, b.who.UID, b.Now())
	b.shown = shown
	return ours, nil
}

// ground returns what an image says that is built on, reviewed.
func (b *building) ground(base admission.Base, image container.Image) (admission.Ground, error) {
	g := admission.Ground{Env: image.Env, Dir: image.WorkingDir}
	if !base.Whole {
		return g, nil // only files of it are copied
	}
	for _, text := range image.Triggers {
		trigger, err := admission.ReadTrigger(text, base.Reference, b.ask.NoCache, b.Recipes)
		if err != nil {
			return g, err
		}
		g.Triggers = append(g.Triggers, trigger)
	}
	return g, nil
}

// base finds an image that a recipe names, and fetches a shared one that isn't
// there, or that the client wants anew.
func (b *building) base(ctx context.Context, base admission.Base) (curator.Found, error) {
	found, err := b.Images.Find(ctx, b.person(), base.Reference)
	missing := errors.Is(err, problem.ErrNotFound)
	_, personal := account.ImageOwner(found.Name)
	switch {
	case err != nil && !missing:
		return found, err
	case !curator.Pullable(base.Reference), !missing && (!b.ask.Pull || personal):
		return found, err
	}
	if err := b.fetchBase(ctx, base); err != nil {
		return found, err
	}
	return b.Images.Find(ctx, b.person(), base.Reference)
}

// fetchBase pulls a shared image, and tells how far it is.
func (b *building) fetchBase(ctx context.Context, base admission.Base) error {
	what := "Image " + base.Reference + " not pulled"
	name, err := account.ImageName(base.Reference)
	if err != nil {
		return err
	}
	if err := b.checkPull(ctx, what, base.Reference, name, policy.Named(name, "", false)); err != nil {
		return err
	}
	login, err := b.loginHeader(ctx, name)
	if err != nil {
		return err
	}
	query := url.Values{"fromImage": {name}}
	for _, platform := range []string{b.ask.Platform, base.Platform} {
		if platform != "" {
			query.Set("platform", platform)
		}
	}
	resp, err := b.send(ctx, http.MethodPost, "/images/create", query, nil, map[string]string{"X-Registry-Auth": login})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	return b.tellPull(what, resp)
}

// tellPull relays what a pull says, and returns why it failed.
func (b *building) tellPull(what string, resp *http.Response) error {
	failed := func(status int, why string) error {
		kind := problem.ErrUnavailable
		if status == http.StatusNotFound {
			kind = problem.ErrNotFound
		}
		return &problem.Error{
			What: what, Why: problem.Because(kind, "it isn't on this host, and "+why),
			Next: "See 'docker images' for what is here, or check the name.",
		}
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Message string }
		data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err == nil {
			err = json.Unmarshal(data, &said)
		}
		if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		return failed(resp.StatusCode, said.Message)
	}
	for dec := json.NewDecoder(resp.Body); ; {
		var doc json.RawMessage
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		var said struct{ Error string }
		if json.Unmarshal(doc, &said) == nil && said.Error != "" {
			return failed(http.StatusNotFound, said.Error)
		}
		if !b.ask.Quiet {
			b.begin()
			b.tell(doc)
		}
	}
}

// begin begins the answer, before the engine's.
func (b *building) begin() {
	if b.begun {
		return
	}
	b.begun = true
	b.w.Header().Set("Content-Type", "application/json")
	if v := b.API(); v != "" {
		b.w.Header().Set("Api-Version", v)
	}
	b.w.WriteHeader(http.StatusOK)
}

// loginHeader returns the client's login at the registry of an image, as a
// header; "" where it has none.
func (b *building) loginHeader(ctx context.Context, name string) (string, error) {
	host, err := account.ImageRegistry(name)
	if err != nil {
		return "", err
	}
	login, err := b.login(ctx, host)
	if err != nil || login == (admission.Credentials{}) {
		return "", err
	}
	return admission.EncodeLogin(login)
}

// loginAt returns the one of these logins, by address, that is for a host.
func loginAt(logins map[string]admission.Credentials, host string) admission.Credentials {
	for address, login := range logins {
		if registryHost(address) == host {
			return login
		}
	}
	return admission.Credentials{}
}
