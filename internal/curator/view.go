package curator

import (
	"context"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
)

// bears reports whether p may know that an image has a name: it is shared, or
// in their own repository, or its owner has shared it.
func (c *Curator) bears(p Person, image, name string) bool {
	if account.IsMark(name) {
		return false
	}
	if p.Admin {
		return true
	}
	if owner, personal := account.ImageOwner(name); personal {
		n, ok := c.meaning(name)
		return owner == p.UID || ok && n.Kind == container.NameShared && n.Image == image
	}
	// A push that ends when nobody waits for it any more leaves a digest behind,
	// and no tag: that alone doesn't make somebody's image everybody's.
	if strings.Contains(name, "@") && len(c.Owners(image)) > 0 {
		return false
	}
	return !lends(c.lentTo(p), image, name)
}

// lent reports whether an image has a registry's name only because it is being
// pushed. A push leaves a digest of that repository until it is over.
func (c *Curator) lent(image, name string) bool { return lends(c.lentTo(Person{}), image, name) }

func lends(lent []container.ImageName, image, name string) bool {
	repository, _, digested := strings.Cut(name, "@")
	for _, n := range lent {
		if n.Image != image {
			continue
		}
		if n.Name == name || digested && n.Name[:strings.LastIndex(n.Name, ":")] == repository {
			return true
		}
	}
	return false
}

// A View is what one person sees of all images at one moment.
type View struct {
	curator *Curator
	person  Person
	mine    map[string]bool  // the names that mean an image of their own
	users   map[string][]int // by image
	images  []container.Image
}

// View looks at all images for p.
func (c *Curator) View(ctx context.Context, p Person) (*View, error) {
	p = c.looking(p)
	v := &View{curator: c, person: p, mine: map[string]bool{}}
	var err error
	if v.images, err = c.engine.Images(ctx); err != nil {
		return nil, err
	}
	if v.users, err = c.users(ctx); err != nil {
		return nil, err
	}
	for _, i := range v.images {
		for _, name := range i.Names {
			if own := account.OwnImage(name, p.UID); own != name {
				v.mine[own] = true
			}
		}
	}
	return v, nil
}

// Names returns what the person calls an image that has these names at the
// engine: their own names first are bare, and a shared one that means an image
// of theirs is left out.
func (v *View) Names(image string, names []string) []string {
	shown := []string{}
	for _, name := range names {
		own := account.OwnImage(name, v.person.UID)
		switch {
		case account.IsMark(name):
		case own != name:
			shown = append(shown, own)
		case v.curator.bears(v.person, image, name) && !v.mine[name]:
			shown = append(shown, name)
		}
	}
	return shown
}

// Sees reports whether the person may use an image that has these names at
// the engine.
func (v *View) Sees(image string, names []string) bool {
	if v.curator.visible(v.person, container.Image{ID: image, Names: names}) {
		return true
	}
	return uses(v.users, image, v.person.UID)
}

// Images returns the images that the person sees, with the engine's names,
// newest first.
func (v *View) Images() []container.Image {
	var seen []container.Image
	for _, i := range v.images {
		if v.Sees(i.ID, i.Names) {
			seen = append(seen, i)
		}
	}
	return seen
}

// visible reports whether p may use an image whatever runs.
func (c *Curator) visible(p Person, i container.Image) bool {
	if p.Admin || c.Owns(i.ID, p.UID) {
		return true
	}
	for _, name := range i.Names {
		if c.bears(p, i.ID, name) {
			return true
		}
	}
	return false
}

func uses(users map[string][]int, image string, uid int) bool {
	return slices.Contains(users[image], uid)
}

// Hears reports whether p hears of an event of an image: one of their own, or
// of what everybody sees. It asks nobody, so that a stream doesn't wait.
func (c *Curator) Hears(p Person, image, name string) bool {
	if account.IsMark(name) {
		return false
	}
	if p.Admin || c.Owns(image, p.UID) || c.wasOwned(image, p.UID) {
		return true
	}
	if owner, personal := account.ImageOwner(name); personal {
		return owner == p.UID
	}
	return len(c.Owners(image)) == 0 && !strings.HasPrefix(name, "sha256:") && !c.lent(image, name)
}
