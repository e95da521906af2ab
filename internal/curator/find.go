package curator

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// A Found is the image that a reference means.
type Found struct {
	container.Image
	Name string // the engine's name that was meant, "" for an id
}

// Find returns what reference means to p: an image of their own by that name,
// else the shared one, else one they may use by its id or the beginning of it.
// What they may not see is of kind problem.ErrNotFound, as what isn't there.
func (c *Curator) Find(ctx context.Context, p Person, reference string) (Found, error) {
	found, err := c.find(ctx, c.looking(p), reference)
	c.remember(p, reference, found.Image, err)
	return found, err
}

func (c *Curator) find(ctx context.Context, p Person, reference string) (Found, error) {
	var mine Found
	var asMine error
	var look sync.WaitGroup // side by side: most people mean the shared one
	look.Go(func() { mine, asMine = c.findOwn(ctx, p, reference) })
	image, err := c.engine.Image(ctx, reference)
	look.Wait()
	if asMine == nil || !errors.Is(asMine, problem.ErrNotFound) {
		return mine, asMine
	}
	if errors.Is(err, problem.ErrNotFound) || errors.Is(err, problem.ErrInvalid) {
		return c.findByPrefix(ctx, p, reference)
	}
	if err != nil {
		return Found{}, err
	}
	if name, err := account.ImageName(reference); err == nil && slices.Contains(image.Names, name) {
		if !c.bears(p, image.ID, name) {
			return Found{}, missing(reference)
		}
		return Found{image, name}, nil
	}
	if ok, err := c.mayUse(ctx, p, image); err != nil || !ok {
		return Found{}, errors.Join(err, missing(reference))
	}
	return Found{Image: image}, nil
}

// findOwn finds an image by a name of p's own.
func (c *Curator) findOwn(ctx context.Context, p Person, reference string) (Found, error) {
	name, err := account.EngineImage(reference, p.UID)
	if err != nil {
		return Found{}, missing(reference)
	}
	image, err := c.engine.Image(ctx, name)
	return Found{image, name}, err
}

func missing(reference string) error {
	return &problem.Error{
		What: "No such image: " + reference,
		Why:  problem.Because(problem.ErrNotFound, "it isn't on this host"),
		Next: "Fetch it with 'docker pull " + reference + "', or see 'docker images' for what is here.",
	}
}

// mayUse reports whether p may use an image, asking for containers only where
// nothing else lets them.
func (c *Curator) mayUse(ctx context.Context, p Person, i container.Image) (bool, error) {
	if c.visible(p, i) {
		return true, nil
	}
	users, err := c.users(ctx)
	return uses(users, i.ID, p.UID), err
}

var idPrefix = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{2,64}$`)

// findByPrefix looks among the images that p sees: to the engine the beginning
// of an id may be somebody else's too.
func (c *Curator) findByPrefix(ctx context.Context, p Person, reference string) (Found, error) {
	if !idPrefix.MatchString(reference) {
		return Found{}, missing(reference)
	}
	v, err := c.View(ctx, p)
	if err != nil {
		return Found{}, err
	}
	prefix := "sha256:" + strings.TrimPrefix(reference, "sha256:")
	found := slices.DeleteFunc(v.Images(), func(i container.Image) bool { return !strings.HasPrefix(i.ID, prefix) })
	switch len(found) {
	case 0:
		return Found{}, missing(reference)
	case 1:
		image, err := c.engine.Image(ctx, found[0].ID)
		return Found{Image: image}, err
	}
	return Found{}, &problem.Error{
		What: "Image " + reference + " is ambiguous", Why: problem.Because(problem.ErrConflict, "several ids begin like that"),
		Next: "Give more of the id, or a name.",
	}
}
