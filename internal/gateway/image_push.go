package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// imagePush sends the caller's images of one repository to its registry: the
// one of the tag, or all.
func (c *call) imagePush() error {
	names, err := c.pushed()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.Launcher.JudgeImage(c.r.Context(), "Image "+name+" not pushed", policy.ImagePush, c.who, c.roles.Admin, policy.Named(name, "", false)); err != nil {
			return err
		}
	}
	for i, name := range names {
		err := c.pushOne(name, i == 0)
		if err != nil && i > 0 {
			return c.late(err)
		}
		if err != nil {
			return err
		}
	}
	return errAnswered
}

// pushed returns the references that a push means.
func (c *call) pushed() ([]string, error) {
	tag := c.match.Query.Get("tag")
	what := "Image " + withTag(c.match.Param, tag) + " not pushed"
	if err := c.checkRegistry(what, c.match.Param); err != nil {
		return nil, err
	}
	repository, whole, err := account.ImageRepositoryOf(c.match.Param)
	if err != nil {
		return nil, err
	}
	if _, personal := account.ImageOwner(repository); personal || !strings.Contains(repository, "/") {
		return nil, &problem.Error{
			What: what, Why: problem.Because(problem.ErrInvalid, "the name says no registry"),
			Next: fmt.Sprintf("Name it for one: docker tag %s HOST[:PORT]/NAME:TAG, then push that name.", withTag(repository, tag)),
		}
	}
	if tag != "" || whole {
		return []string{withTag(c.match.Param, tag)}, nil
	}
	v, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return nil, err
	}
	names, err := inRepository(v, repository)
	if err == nil && len(names) == 0 {
		err = &problem.Error{What: what, Why: problem.Because(problem.ErrNotFound, "you have no image of that name"), Next: "'docker images' shows yours."}
	}
	return names, err
}

// inRepository returns the names with a tag that the viewer sees in one
// repository.
func inRepository(v *curator.View, repository string) (names []string, err error) {
	wanted, _, err := account.ImageRepositoryOf(repository)
	if err != nil {
		return nil, err
	}
	for _, i := range v.Images() {
		for _, name := range v.Names(i.ID, i.Names) {
			if r, _, err := account.ImageRepositoryOf(name); err == nil && r == wanted && !strings.Contains(name, "@") {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// pushOne pushes one image under its registry's name, which the engine knows
// it by only for as long.
func (c *call) pushOne(name string, first bool) (err error) {
	found, err := c.Images.Find(c.r.Context(), c.person(), name)
	if err != nil {
		return err
	}
	full, err := account.ImageName(name)
	if err != nil {
		return err
	}
	giveBack, err := c.Images.Lend(c.r.Context(), c.person(), found.ID, full)
	if err != nil {
		return err
	}
	defer func() {
		if err := giveBack(context.WithoutCancel(c.r.Context())); err != nil { // it stays hidden
			c.Log.WarnContext(c.r.Context(), "name lent to a push not taken back", "name", full, "error", err)
		}
	}()
	repository, tag := splitTag(full)
	query := c.only("platform")
	query.Set("tag", tag)
	resp, err := c.askRegistry(c.r.Context(), http.MethodPost, "/images/"+repository+"/push", query)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	if first {
		_ = c.follow(resp, func(doc []byte) []byte { return c.ownImages(doc) }) // as far as it came, it was told
		return nil
	}
	_, err = io.Copy(c.w, resp.Body)
	return err
}
