package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// imageSave streams an archive of images that the caller may use, in which
// they bear the caller's names.
func (c *call) imageSave() error {
	references := c.match.Query["names"]
	if c.match.Op == admission.ImageSaveOne {
		references = []string{c.match.Param}
	}
	query := c.only("platform")
	for _, reference := range references {
		if err := c.addSaved(query, reference); err != nil {
			return err
		}
	}
	if len(query["names"]) == 0 {
		return &problem.Error{What: "Nothing saved", Why: problem.Because(problem.ErrInvalid, "no image is named"), Next: "Name one: docker save NAME."}
	}
	resp, err := c.ask(c.r.Context(), http.MethodGet, "/images/get", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	if resp.StatusCode != http.StatusOK {
		return c.relay(resp)
	}
	c.head(resp)
	e := editor{documents: map[string]func([]byte) ([]byte, error){
		admission.Manifest:     func(data []byte) ([]byte, error) { return admission.RenameManifest(data, c.ownAll) },
		admission.Repositories: c.ownRepositories,
		admission.Index:        func(data []byte) ([]byte, error) { return c.ownImages(data), nil },
	}}
	if err := e.edit(c.w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // an archive that broke off must not look whole
	}
	return errAnswered
}

// addSaved adds what a reference means to the engine's list. A repository
// without a tag is all of its tags, as the engine has it.
func (c *call) addSaved(query url.Values, reference string) error {
	found, err := c.Images.Find(c.r.Context(), c.person(), reference)
	_, whole, nerr := account.ImageRepositoryOf(reference)
	named := nerr == nil && !whole && (found.Name != "" || errors.Is(err, problem.ErrNotFound))
	if !named && err != nil {
		return err
	}
	if !named {
		name := found.Name
		if name == "" {
			name = found.ID
		}
		query.Add("names", name)
		return nil
	}
	v, verr := c.Images.View(c.r.Context(), c.person())
	if verr != nil {
		return verr
	}
	names, verr := inRepository(v, reference)
	if verr != nil {
		return verr
	}
	for _, name := range names {
		found, err = c.Images.Find(c.r.Context(), c.person(), name)
		if err != nil {
			return err
		}
		query.Add("names", found.Name)
	}
	if len(names) == 0 {
		return err
	}
	return nil
}

func (c *call) ownAll(names []string) []string {
	own := make([]string, len(names))
	for i, name := range names {
		own[i] = account.OwnImage(name, c.who.UID)
	}
	return own
}

// ownRepositories renames the document that old engines read: repositories to
// tags to ids.
func (c *call) ownRepositories(data []byte) ([]byte, error) {
	var all map[string]map[string]string
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the engine's archive: %w", err)
	}
	own := make(map[string]map[string]string, len(all))
	for repository, tags := range all {
		own[account.OwnImage(repository, c.who.UID)] = tags
	}
	return json.Marshal(own)
}
