package curator

import (
	"context"
	"errors"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Lend gives an image of p's the name that it has at a registry, which is what
// the engine pushes by, until giveBack is called. Nobody sees the image by
// that name meanwhile. A name that stands for a shared image, or is lent
// already, is an error of kind problem.ErrConflict.
func (c *Curator) Lend(ctx context.Context, p Person, image, name string) (giveBack func(context.Context) error, err error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	now, err := c.engine.Image(ctx, name)
	switch {
	case err == nil && now.ID == image && !c.lent(image, name):
		return func(context.Context) error { return nil }, nil // everybody knows it by that name already
	case err == nil:
		return nil, &problem.Error{
			What: "Image not pushed as " + name, Why: problem.Because(problem.ErrConflict, "another image has that name on this host, and it is not yours to move"),
			Next: "Push under another tag, or ask your administrators to remove the shared " + name + ".",
		}
	case !errors.Is(err, problem.ErrNotFound):
		return nil, err
	}
	lent := container.ImageName{Name: name, Kind: container.NameLent, Image: image, UID: p.UID, Since: c.now().UTC()}
	if err := c.note(ctx, lent); err != nil {
		return nil, err
	}
	if err := c.engine.TagImage(ctx, image, name); err != nil {
		return nil, errors.Join(err, c.takeBack(context.WithoutCancel(ctx), lent))
	}
	return func(ctx context.Context) error {
		c.naming.Lock()
		defer c.naming.Unlock()
		return c.takeBack(ctx, lent)
	}, nil
}

// takeBack removes a lent name. An image that lost all its others meanwhile is
// kept for who pushed it.
func (c *Curator) takeBack(ctx context.Context, lent container.ImageName) error {
	now, err := c.engine.Image(ctx, lent.Name)
	if errors.Is(err, problem.ErrNotFound) || err == nil && now.ID != lent.Image {
		return c.forget(ctx, lent.Name)
	}
	if err != nil {
		return err
	}
	for _, name := range now.Names {
		if name == lent.Name || digestBeside(name, lent.Name) {
			continue
		}
		return c.drop(ctx, lent.Name)
	}
	if err := c.engine.TagImage(ctx, lent.Image, account.KeptImage(lent.Image, lent.UID)); err != nil {
		return err
	}
	return c.drop(ctx, lent.Name)
}

func (c *Curator) drop(ctx context.Context, name string) error {
	if _, err := c.engine.RemoveImage(ctx, name, false); err != nil && !errors.Is(err, problem.ErrNotFound) {
		return err
	}
	return c.forget(ctx, name)
}

// Recover takes up what was under way when ds01 ended or lost the engine: names
// that were lent are taken back, until when they stay hidden, and what was made
// becomes its maker's.
func (c *Curator) Recover(ctx context.Context) error {
	return errors.Join(c.recoverLent(ctx), c.recoverMakings(ctx))
}

func (c *Curator) recoverLent(ctx context.Context) error {
	c.naming.Lock()
	defer c.naming.Unlock()
	var errs []error
	for _, n := range c.kept() {
		if n.Kind == container.NameLent {
			errs = append(errs, c.takeBack(ctx, n))
		}
	}
	return errors.Join(errs...)
}
