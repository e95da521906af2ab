package curator

import (
	"context"
	"errors"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// OwnName returns the name at the engine under which what uid makes is kept
// when they call it target.
func OwnName(target string, uid int) (string, error) {
	name, err := account.EngineImage(target, uid)
	switch {
	case err == nil:
		return name, nil
	case errors.Is(err, problem.ErrNotFound):
		return "", missing(target)
	}
	return "", &problem.Error{
		What: "Image not named " + target, Why: err,
		Next: "Write NAME:TAG in small letters, with a registry's host before it if you like.",
	}
}

// Tag gives the image that reference means one more name, in p's own
// repository. Administrators write the name as it is, for everybody; their own
// is ds01-<uid>/….
func (c *Curator) Tag(ctx context.Context, p Person, reference, target string) error {
	c.naming.Lock()
	defer c.naming.Unlock()
	found, err := c.Find(ctx, p, reference)
	if err != nil {
		return err
	}
	name, err := OwnName(target, p.UID)
	if p.Admin {
		name, err = c.anyName(target)
	}
	if err != nil {
		return err
	}
	if err := c.name(ctx, found.ID, name); err != nil {
		return err
	}
	return c.unmark(ctx, found.ID, "")
}

// anyName returns a name as administrators give it.
func (c *Curator) anyName(target string) (string, error) {
	name, err := account.ImageName(target)
	if err == nil && account.IsMark(name) {
		err = problem.Because(problem.ErrInvalid, "such names are kept for images without a name")
	}
	if err != nil {
		return "", &problem.Error{What: "Image not named " + target, Why: err, Next: "Write NAME:TAG in small letters."}
	}
	return name, c.CheckLent(name)
}

// CheckLent refuses a name, or a whole repository, that is lent to a push.
func (c *Curator) CheckLent(reference string) error {
	repository, whole, err := account.ImageRepositoryOf(reference)
	if err != nil {
		return nil //nolint:nilerr // what is no name is never lent
	}
	name, err := account.ImageName(reference)
	for _, n := range c.kept() {
		if n.Kind != container.NameLent || err != nil {
			continue
		}
		lent, _, err := account.ImageRepositoryOf(n.Name)
		if n.Name == name || err == nil && !whole && lent == repository {
			return &problem.Error{
				What: "Image " + reference + " is busy", Why: problem.Because(problem.ErrConflict, "an image is being pushed under that name"),
				Next: "Try again in a minute.",
			}
		}
	}
	return nil
}

// Share lets everybody read an image under its owner's full name, which it
// returns. It holds for this image: once the name stands for another one, that
// one is its owner's alone.
func (c *Curator) Share(ctx context.Context, p Person, reference string) (string, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	found, err := c.personal(ctx, p, reference, "shared")
	if err != nil {
		return "", err
	}
	n := container.ImageName{Name: found.Name, Kind: container.NameShared, Image: found.ID, UID: p.UID, Since: c.now().UTC()}
	return found.Name, c.note(ctx, n)
}

// Unshare takes back what Share did, and returns the image's full name.
func (c *Curator) Unshare(ctx context.Context, p Person, reference string) (string, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	found, err := c.personal(ctx, p, reference, "unshared")
	if err != nil {
		return "", err
	}
	return found.Name, c.forget(ctx, found.Name)
}

// Shared reports whether everybody may read an image under a name.
func (c *Curator) Shared(image, name string) bool {
	if _, personal := account.ImageOwner(name); !personal {
		return !c.lent(image, name)
	}
	n, ok := c.meaning(name)
	return ok && n.Kind == container.NameShared && n.Image == image
}

// personal finds an image by a name that p may share: their own, or for
// administrators anybody's.
func (c *Curator) personal(ctx context.Context, p Person, reference, verb string) (Found, error) {
	found, err := c.Find(ctx, p, reference)
	if err != nil {
		return found, err
	}
	owner, personal := account.ImageOwner(found.Name)
	refuse := func(kind error, why, next string) error {
		return &problem.Error{What: "Image " + reference + " not " + verb, Why: problem.Because(kind, why), Next: next}
	}
	switch {
	case found.Name == "":
		return found, refuse(problem.ErrInvalid, "an image is shared under a name, and this is an id", "Give it one with 'docker tag "+reference+" NAME:TAG'.")
	case !personal:
		return found, refuse(problem.ErrConflict, "everybody reads it already: it was pulled, or an administrator named it", "Nothing to do.")
	case owner != p.UID && !p.Admin:
		return found, refuse(problem.ErrDenied, "it is somebody else's", "Ask its owner.")
	}
	return found, nil
}
