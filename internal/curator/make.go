package curator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// What somebody makes comes from the engine under a mark, which only ds01 can
// give, in their own repository. The making is stored before the engine is
// asked: whatever becomes of the answer, or of ds01, the mark says whose the
// image is. It goes once the image has another name.

// makingLasts is how long an image is waited for whose making nobody follows
// any more: the engine may be at a large one still.
const makingLasts = 24 * time.Hour

// A making is one that the store knows.
type making struct {
	container.Making
	followed bool // somebody waits for the engine's answer
}

// Begin notes that uid is about to make images by some way, and which names
// each shall have, as OwnName returns them. The engine is to make them under
// their marks. Who begins ends it, by End.
func (c *Curator) Begin(ctx context.Context, uid int, how string, names ...[]string) (container.Making, error) {
	var random [8]byte
	rand.Read(random[:])
	m := container.Making{ID: hex.EncodeToString(random[:]), UID: uid, How: how, Since: c.now().UTC()}
	for _, of := range names {
		wanted := make([]container.WantedName, len(of))
		for i, name := range of {
			was, err := c.standsFor(ctx, name)
			if err != nil {
				return m, err
			}
			wanted[i] = container.WantedName{Name: name, Was: was}
		}
		m.Wanted = append(m.Wanted, wanted)
	}
	if err := c.store.SaveMaking(ctx, m); err != nil {
		return m, err
	}
	c.setMaking(making{m, true})
	return m, nil
}

// Mark returns the name under which the engine is to make image i of a making.
func Mark(m container.Making, i int) string {
	return account.ImageMark(m.UID, fmt.Sprintf("%s-%d", m.ID, i))
}

// Put gives an image the mark that the engine hasn't given it.
func (c *Curator) Put(ctx context.Context, m container.Making, i int, image string) error {
	return c.marked.TagImage(ctx, image, Mark(m, i))
}

// End makes the images their maker's, and names them: those that bear a mark,
// whose ids it returns in their order, "" for one that isn't there. Unless the
// engine has answered, what is missing may come yet: it is still waited for,
// also by a ds01 that starts later.
func (c *Curator) End(ctx context.Context, m container.Making, answered bool) ([]string, error) {
	images, err := c.collect(ctx, m, true)
	if err == nil && m.How == container.ByBuild {
		err = c.ownBuilt(ctx, m.UID)
	}
	c.setMaking(making{m, false})
	if err == nil && !answered && slices.Contains(images, "") {
		images, err = c.collect(ctx, m, true) // its event may have come just before
	}
	if err == nil && (answered || !slices.Contains(images, "")) {
		err = c.forgetMaking(ctx, m.ID)
	}
	return images, err
}

// Marked looks at an image that the engine has given a name, which may be a
// mark: where nobody follows the making any more, it is ended.
func (c *Curator) Marked(ctx context.Context, image string) error {
	if !slices.ContainsFunc(c.allMakings(), func(m making) bool { return !m.followed }) {
		return nil
	}
	i, err := c.marked.Image(ctx, image)
	if errors.Is(err, problem.ErrNotFound) {
		return nil
	}
	for _, name := range i.Names {
		if m, waited := c.waited(name); err == nil && waited && !m.followed {
			err = c.resume(ctx, m)
		}
	}
	return err
}

// resume ends a making that nobody follows, once all its images are there or
// have been waited for too long.
func (c *Curator) resume(ctx context.Context, m making) error {
	images, err := c.collect(ctx, m.Making, false)
	if err == nil && m.How == container.ByBuild {
		err = c.ownBuilt(ctx, m.UID)
	}
	if err != nil {
		return err
	}
	if slices.Contains(images, "") && c.now().Sub(m.Since) < makingLasts {
		return nil
	}
	return c.forgetMaking(ctx, m.ID)
}

// collect makes the images of a making that are there its maker's, and names
// them. It returns their ids, "" for what isn't there. Unless now, a name that
// was given to another image meanwhile stays there.
func (c *Curator) collect(ctx context.Context, m container.Making, now bool) ([]string, error) {
	images := make([]string, len(m.Wanted))
	for i := range m.Wanted {
		image, err := c.collectOne(ctx, m, i, now)
		if err != nil && !errors.Is(err, problem.ErrNotFound) {
			return images, err
		}
		images[i] = image
	}
	return images, nil
}

func (c *Curator) collectOne(ctx context.Context, m container.Making, i int, now bool) (string, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	made, err := c.marked.Image(ctx, Mark(m, i))
	if err != nil {
		return "", err
	}
	if err := c.Own(ctx, made.ID, m.UID, m.How); err != nil {
		return "", err
	}
	for _, wanted := range m.Wanted[i] {
		is, err := c.standsFor(ctx, wanted.Name)
		if err == nil && (now || is == wanted.Was) {
			err = c.name(ctx, made.ID, wanted.Name)
		}
		if err != nil {
			return "", err
		}
	}
	return made.ID, c.unmark(ctx, made.ID, Mark(m, i))
}

// standsFor returns the image that a name is of, "" for none.
func (c *Curator) standsFor(ctx context.Context, name string) (string, error) {
	i, err := c.engine.Image(ctx, name)
	if errors.Is(err, problem.ErrNotFound) {
		return "", nil
	}
	return i.ID, err
}

// name gives an image a name, which is shared no longer where it stood for
// another: first, so that it never stands for this one and is.
func (c *Curator) name(ctx context.Context, image, name string) error {
	defer c.Renamed()
	if err := c.Named(ctx, name, image); err != nil {
		return err
	}
	return c.engine.TagImage(ctx, image, name)
}

// unmark takes marks from an image as long as a name remains: done, unless
// "", and those by which nothing is waited for.
func (c *Curator) unmark(ctx context.Context, image, done string) error {
	i, err := c.marked.Image(ctx, image)
	if err != nil {
		return err
	}
	left := len(i.Names)
	for _, name := range i.Names {
		if _, waited := c.waited(name); !account.IsMark(name) || waited && name != done || left == 1 {
			continue
		}
		if _, err := c.marked.RemoveImage(ctx, name, false); err != nil && !errors.Is(err, problem.ErrNotFound) {
			return err
		}
		left--
	}
	return nil
}

// recoverMakings ends what was begun and isn't followed any more, and takes
// away marks that were left beside a name.
func (c *Curator) recoverMakings(ctx context.Context) error {
	var errs []error
	for _, m := range c.allMakings() {
		if !m.followed {
			errs = append(errs, c.resume(ctx, m))
		}
	}
	list, err := c.marked.Images(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	c.naming.Lock()
	defer c.naming.Unlock()
	for _, i := range list {
		if len(i.Names) > 1 && slices.ContainsFunc(i.Names, account.IsMark) {
			errs = append(errs, c.unmark(ctx, i.ID, ""))
		}
	}
	return errors.Join(errs...)
}

func (c *Curator) setMaking(m making) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makings[m.ID] = m
}

// waited returns the making that a name is a mark of.
func (c *Curator) waited(name string) (m making, waited bool) {
	tag, mark := account.MarkTag(name)
	if !mark {
		return m, false
	}
	id, _, _ := strings.Cut(tag, "-")
	c.mu.Lock()
	defer c.mu.Unlock()
	m, waited = c.makings[id]
	return m, waited
}

func (c *Curator) allMakings() []making {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]making, 0, len(c.makings))
	for _, m := range c.makings {
		all = append(all, m)
	}
	return all
}

func (c *Curator) forgetMaking(ctx context.Context, id string) error {
	if err := c.store.DeleteMaking(ctx, id); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.makings, id)
	return nil
}
