package gateway

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/problem"
)

var personalName = regexp.MustCompile(`ds01-[0-9]+/[a-zA-Z0-9._/:@-]+`)

// ownImages puts what the caller calls their images in the place of the
// engine's names.
func (c *call) ownImages(text []byte) []byte {
	return personalName.ReplaceAllFunc(text, func(name []byte) []byte {
		return []byte(account.OwnImage(string(name), c.who.UID))
	})
}

// ancestor returns the id of an image by which containers are filtered; one
// that isn't there for the caller has none.
func (c *call) ancestor(reference string) (string, error) {
	found, err := c.Images.Find(c.r.Context(), c.person(), reference)
	if errors.Is(err, problem.ErrNotFound) {
		return "sha256:" + strings.Repeat("0", 64), nil // no image has this id
	}
	return found.ID, err
}

// imageFilter maps the images by which events are filtered: those of
// containers speak of ids, those of images of names too.
func (c *call) imageFilter(filters filterSet) error {
	for _, reference := range slices.Clone(filters["image"]) {
		found, err := c.Images.Find(c.r.Context(), c.person(), reference)
		if errors.Is(err, problem.ErrNotFound) {
			continue // it may come yet, or be gone
		}
		if err != nil {
			return err
		}
		filters["image"] = append(filters["image"], found.ID)
		if found.Name != "" {
			filters["image"] = append(filters["image"], found.Name)
		}
	}
	return nil
}

// withTag joins the two halves in which clients send a name.
func withTag(repository, tag string) string {
	switch {
	case tag == "":
		return repository
	case strings.Contains(tag, ":"): // a digest
		return repository + "@" + tag
	}
	return repository + ":" + tag
}

// splitTag takes a whole name apart.
func splitTag(name string) (repository, tag string) {
	i := strings.LastIndex(name, ":")
	return name[:i], name[i+1:]
}

// checkRegistry refuses a registry that the host's administrators don't list.
func (c *call) checkRegistry(what, reference string) error {
	host, err := account.ImageRegistry(reference)
	if err != nil {
		return &problem.Error{What: what, Why: err, Next: "Write HOST/NAME:TAG."}
	}
	return c.checkHost(what, host)
}

func (c *call) checkHost(what, host string) error {
	if allowed := c.Registries(); len(allowed) > 0 && !slices.Contains(allowed, strings.ToLower(host)) {
		return &problem.Error{
			What: what, Why: problem.Because(problem.ErrDenied, "the registry "+host+" is not one that this host uses"),
			Next: "These are: " + strings.Join(allowed, ", ") + ". Ask your administrators for more (images.registries in ds01.yaml).",
		}
	}
	return nil
}
