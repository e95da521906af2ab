package curator

import (
	"context"
	"errors"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// A Removal is how an image is removed.
type Removal struct {
	Force       bool // one with several names by its id, and one that p's stopped containers use
	KeepParents bool // leave the images it was made from, however unused
}

// Remove takes away the name that reference is, or all of p's names where it
// is an id, and the image once nobody else needs it: no other name, owner or
// container. What is removed is told in the engine's names.
func (c *Curator) Remove(ctx context.Context, p Person, reference string, how Removal) ([]container.Removed, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	found, err := c.Find(ctx, p, reference)
	if err != nil {
		return nil, err
	}
	owner, personal := account.ImageOwner(found.Name)
	mine := personal && owner == p.UID
	switch {
	case found.Name != "" && (mine || p.Admin):
		return c.untag(ctx, p, found.Image, found.Name, how)
	case found.Name != "":
		return nil, notYours(reference)
	case len(ownNames(p, found.Image)) == 0 && !c.Owns(found.ID, p.UID) && !p.Admin:
		return nil, notYours(reference)
	}
	return c.removeByID(ctx, p, found.Image, how)
}

func notYours(reference string) error {
	return &problem.Error{
		What: "Image " + reference + " not removed",
		Why:  problem.Because(problem.ErrDenied, "it is shared, and only administrators remove what others may use"),
		Next: "Leave it; layers are stored once, so it costs you nothing.",
	}
}

// ownNames returns the names of an image that are p's.
func ownNames(p Person, i container.Image) []string {
	return slices.DeleteFunc(slices.Clone(i.Names), func(name string) bool { return account.OwnImage(name, p.UID) == name })
}

// needers returns who else needs an image, by a row of the store or a
// container, each once.
func (c *Curator) needers(ctx context.Context, p Person, image string) ([]int, error) {
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(users[image])
	for _, o := range c.Owners(image) {
		all = append(all, o.UID)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(uid int) bool { return uid == p.UID }), nil
}

// untag takes one name away. An image that would go with it, and that somebody
// else needs, gets a name of theirs first.
func (c *Curator) untag(ctx context.Context, p Person, i container.Image, name string, how Removal) ([]container.Removed, error) {
	others, err := c.needers(ctx, p, i.ID)
	if err != nil {
		return nil, err
	}
	last := !slices.ContainsFunc(i.Names, func(n string) bool { return n != name && !digestBeside(n, name) })
	if p.Admin && how.Force {
		others = nil // taken from them knowingly
	}
	if last && len(others) > 0 {
		if err := c.engine.TagImage(ctx, i.ID, account.KeptImage(i.ID, others[0])); err != nil {
			return nil, err
		}
	}
	removed, err := c.engine.RemoveImage(ctx, name, how.Force)
	if err != nil {
		return nil, err
	}
	err = c.forget(ctx, name)
	mine := slices.DeleteFunc(ownNames(p, i), func(n string) bool { return n == name })
	if len(mine) == 0 && (!last || len(others) > 0) {
		err = errors.Join(err, c.disown(ctx, i.ID, p.UID))
	}
	return c.aftermath(ctx, p, i, how, removed, err)
}

// digestBeside reports whether a reference is a digest in the repository of a
// name: the engine drops those with the repository's last tag.
func digestBeside(reference, name string) bool {
	repository, _, digested := strings.Cut(reference, "@")
	return digested && strings.HasPrefix(name, repository+":")
}

// removeByID removes what p has of an image: all their names, or their part in
// one without a name.
func (c *Curator) removeByID(ctx context.Context, p Person, i container.Image, how Removal) ([]container.Removed, error) {
	mine := ownNames(p, i)
	others, err := c.needers(ctx, p, i.ID)
	if err != nil {
		return nil, err
	}
	if p.Admin && len(mine) == 0 {
		return c.removeAny(ctx, p, i, others, how)
	}
	if len(mine) > 1 && !how.Force {
		return nil, several(i, mine, p.UID)
	}
	if len(mine) == 0 && (len(i.Names) > 0 || len(others) > 0) { // others go on using it
		return []container.Removed{{Untagged: i.ID}}, c.disown(ctx, i.ID, p.UID)
	}
	if len(mine) == 0 {
		removed, err := c.engine.RemoveImage(ctx, i.ID, how.Force)
		return c.aftermath(ctx, p, i, how, removed, err)
	}
	var removed []container.Removed
	for _, name := range mine {
		steps, err := c.untag(ctx, p, i, name, how)
		if err != nil {
			return removed, err
		}
		removed = append(removed, steps...)
		i.Names = slices.DeleteFunc(slices.Clone(i.Names), func(n string) bool { return n == name })
	}
	return removed, nil
}

// removeAny removes an image with all its names, for an administrator.
func (c *Curator) removeAny(ctx context.Context, p Person, i container.Image, others []int, how Removal) ([]container.Removed, error) {
	if len(others) > 0 && !how.Force {
		return nil, &problem.Error{
			What: "Image " + i.ID + " not removed", Why: problem.Because(problem.ErrConflict, "somebody else made it or has a container of it"),
			Next: "Add --force to take it from them.",
		}
	}
	removed, err := c.engine.RemoveImage(ctx, i.ID, how.Force)
	for _, r := range removed {
		err = errors.Join(err, c.forget(ctx, r.Untagged))
	}
	return c.aftermath(ctx, p, i, how, removed, err)
}

func several(i container.Image, names []string, uid int) error {
	for k, name := range names {
		names[k] = account.OwnImage(name, uid)
	}
	return &problem.Error{
		What: "Image " + i.ID + " not removed", Why: problem.Because(problem.ErrConflict, "it has several names: "+strings.Join(names, ", ")),
		Next: "Remove it by its names, or add --force.",
	}
}

// aftermath forgets the owners of images that are gone, and removes the
// parents that only p has and that nothing needs any more.
func (c *Curator) aftermath(ctx context.Context, p Person, i container.Image, how Removal, removed []container.Removed, err error) ([]container.Removed, error) {
	gone := slices.ContainsFunc(removed, func(r container.Removed) bool { return r.Deleted == i.ID })
	if err != nil || !gone {
		return removed, err
	}
	for _, o := range c.Owners(i.ID) {
		if err := c.disown(ctx, i.ID, o.UID); err != nil {
			return removed, err
		}
	}
	if i.Parent == "" || how.KeepParents {
		return removed, nil
	}
	parent, err := c.engine.Image(ctx, i.Parent)
	if err != nil || len(parent.Names) > 0 || slices.ContainsFunc(c.Owners(parent.ID), func(o container.ImageOwner) bool { return o.UID != p.UID }) {
		return removed, nil //nolint:nilerr // it went, or it stays
	}
	steps, err := c.engine.RemoveImage(ctx, parent.ID, false)
	if err != nil {
		return removed, nil //nolint:nilerr // a container or another image needs it
	}
	steps, err = c.aftermath(ctx, p, parent, how, steps, nil)
	return append(removed, steps...), err
}
